"""How the columns of somebody else's data become those of an embodiment.

    embodiment: yam_pair
    cameras: {top: observation.images.front}       # the embodiment's camera: their feature
    proprioception:                                # entry: their column
      left_joint1: left_waist.pos                  # by name, of observation.state
      left_joint2: 1                               # by place
      left_gripper: {at: 6, scale: 0.01}           # ours = offset + scale * theirs
    actions:                                       # empty: the next measured state is the action
      left_joint1: {feature: action, at: left_waist.pos}

Entries without a line are found by their names. Our own sets carry their embodiment and need no
mapping.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hiwm_core.config_files import config_text, parse_mapping
from hiwm_core.config_schema import settings
from hiwm_core.embodiment import CameraSpec, Embodiment, load_embodiment, parse_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.image_sizes import area_averaged, check_camera_size
from hiwm_exchange.foreign import EpisodeError, ForeignEpisode
from hiwm_exchange.lerobot.layout import ACTION, IMAGES, STATE


@dataclass(frozen=True, kw_only=True)
class Column:
    """One entry of one of their features."""

    at: int | str  # place or name in the feature
    feature: str = ""  # empty: the mapping's `state` or `action`
    scale: float = 1.0
    offset: float = 0.0  # ours = offset + scale * theirs


Columns = Mapping[str, int | str | Column]


@dataclass(frozen=True, kw_only=True)
class MappingFile:
    """A mapping file."""

    embodiment: str
    cameras: Mapping[str, str] = field(default_factory=dict)
    state: str = STATE  # feature of proprioception without one of its own
    action: str = ACTION
    proprioception: Columns = field(default_factory=dict)
    # recorded: their action; next_state: the next measured state, where they have none
    actions_from: Literal["recorded", "next_state"] = "recorded"
    actions: Columns = field(default_factory=dict)


@dataclass(frozen=True)
class DataMapping:
    """A mapping with its embodiment."""

    file: MappingFile
    embodiment: Embodiment
    where: str

    def proprioception(self, episode: ForeignEpisode) -> NDArray[np.float32]:
        """Return proprioception [T, P].

        Raises:
            ConfigError: a column is missing.
            EpisodeError: a number is not finite.
        """
        names = [entry.name for entry in self.embodiment.proprioception]
        return self._columns(episode, names, self.file.proprioception, self.file.state)

    def actions(self, episode: ForeignEpisode) -> NDArray[np.float32]:
        """Return their actions [T, A]; raises as `proprioception`."""
        names = [entry.name for entry in self.embodiment.actions]
        return self._columns(episode, names, self.file.actions, self.file.action)

    def images(self, episode: ForeignEpisode, camera: CameraSpec) -> NDArray[np.uint8]:
        """Return a camera's images [T, H, W, 3], resized to the embodiment's.

        Raises:
            ConfigError: they have no such camera, or another aspect ratio or a smaller size.
        """
        feature = self.file.cameras.get(camera.name, IMAGES + camera.name)
        if feature not in episode.cameras:
            raise ConfigError(
                f"no feature {feature!r} for camera {camera.name}",
                where=f"{self.where}: cameras.{camera.name}",
                remedy=f"name one of {', '.join(episode.cameras) or 'none'}",
            )
        images = episode.images(feature)
        check_camera_size(
            images.shape[1], images.shape[2], camera, where=f"{episode.where}: {feature}",
            remedy="use an embodiment whose camera is not larger and has their aspect ratio",
        )
        return np.stack([area_averaged(one, camera.height, camera.width) for one in images])

    def _columns(
        self, episode: ForeignEpisode, names: list[str], given: Columns, default: str
    ) -> NDArray[np.float32]:
        kind = "actions" if given is self.file.actions else "proprioception"
        unknown = set(given) - set(names)
        if unknown:
            raise ConfigError(
                f"embodiment {self.embodiment.name} has no entry {', '.join(sorted(unknown))}",
                where=f"{self.where}: {kind}", remedy=f"use {', '.join(names)}",
            )
        out = np.empty((episode.length, len(names)), np.float64)
        for i, name in enumerate(names):
            asked = given.get(name, name)
            column = asked if isinstance(asked, Column) else Column(at=asked)
            values = self._column(episode, column, default, f"{kind}.{name}")
            out[:, i] = column.offset + column.scale * values
        bad = np.argwhere(~np.isfinite(out))
        if len(bad):
            frame, entry = bad[0]
            raise EpisodeError(
                f"{names[entry]} is {out[frame, entry]:g} at frame {frame}",
                where=f"{episode.where}: {default}", remedy="record the episode again",
            )
        return out.astype(np.float32)

    def _column(
        self, episode: ForeignEpisode, column: Column, default: str, field_name: str
    ) -> NDArray[np.float64]:
        feature = column.feature or default
        where = f"{self.where}: {field_name}"
        if feature not in episode.columns:
            raise ConfigError(
                f"the data have no feature {feature!r}", where=where,
                remedy=f"name one of {', '.join(episode.columns)}",
            )
        values = np.asarray(episode.columns[feature])
        values = values.reshape(len(values), -1)
        known = episode.names.get(feature, ())
        if isinstance(column.at, str):
            if column.at not in known:
                raise ConfigError(
                    f"{feature} has no entry named {column.at!r}", where=where,
                    remedy=f"name one of {', '.join(known) or 'none'}, or give its place, 0 to "
                    f"{values.shape[1] - 1}",
                )
            return values[:, known.index(column.at)].astype(np.float64)
        if not 0 <= column.at < values.shape[1]:
            raise ConfigError(
                f"{feature} has no entry {column.at}", where=where,
                remedy=f"give 0 to {values.shape[1] - 1}",
            )
        return values[:, column.at].astype(np.float64)


def load_mapping(path: Path) -> DataMapping:
    """Return a mapping file with its embodiment.

    Raises:
        ConfigError: unknown key, wrong type, or no such embodiment; names file and field.
    """
    file = settings(MappingFile, parse_mapping(config_text(path), str(path)), str(path))
    embodiment = load_embodiment(file.embodiment)
    cameras = {camera.name for camera in embodiment.cameras}
    if unknown := set(file.cameras) - cameras:
        raise ConfigError(
            f"embodiment {embodiment.name} has no camera {', '.join(sorted(unknown))}",
            where=f"{path}: cameras", remedy=f"use {', '.join(sorted(cameras))}",
        )
    return DataMapping(file, embodiment, str(path))


def default_mapping(embodiment: str, description: Mapping[str, Any]) -> DataMapping:
    """Return the mapping by equal names, for an embodiment or for one of our own sets.

    Args:
        embodiment: name or path; empty: that of the set.
        description: of a set, as `ForeignEpisode.description`.

    Raises:
        ConfigError: the set is not ours, and no embodiment is named.
    """
    if embodiment:
        found = load_embodiment(embodiment)
        where = f"embodiment {found.name}"
    elif text := description.get("embodiment_text"):
        found = parse_embodiment(str(text), "meta/hiwm.json: embodiment_text")
        where = "meta/hiwm.json"
    else:
        raise ConfigError(
            "the data name no embodiment of ours", where="import_lerobot",
            remedy="give --mapping FILE, or --embodiment NAME if the names of all entries agree "
            "(docs/exchange.md)",
        )
    return DataMapping(MappingFile(embodiment=found.name), found, where)
