"""Writes episodes with exactly the features of another data set, so that both can be merged.

LeRobot merges sets of equal features, rate and robot only. Our own columns go beside the set. Their
entries are ours by name, unless a mapping, as imports read it, says which is which and in what
unit: it is followed backwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.image_sizes import area_averaged
from hiwm_exchange.features import our_features
from hiwm_exchange.lerobot.episodes import Piece, SetSpec
from hiwm_exchange.lerobot.info import SetInfo
from hiwm_exchange.lerobot.layout import ACTION, IMAGES, STATE
from hiwm_exchange.lerobot.tables import entry_names, image_size, is_video
from hiwm_exchange.lerobot.video import CODECS
from hiwm_exchange.mapping import Column, DataMapping, MappingFile


@dataclass(frozen=True)
class _Vector:
    """How a vector of theirs is filled, N entries: theirs = (ours - offset) / scale."""

    ours: NDArray[np.intp]  # [N] place among ours
    scale: NDArray[np.float64]  # [N]
    offset: NDArray[np.float64]  # [N]

    def of(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return their values [T, N] of ours [T, N]."""
        filled: NDArray[np.float64] = (values[:, self.ours] - self.offset) / self.scale
        return filled


@dataclass(frozen=True)
class LikeAnother:
    """The features of another set, filled with ours."""

    spec: SetSpec
    _cameras: Mapping[str, str]  # their feature -> ours
    _vectors: Mapping[str, _Vector]  # state and action
    lines: tuple[str, ...]  # what fills what, for people

    def piece(self, piece: Piece) -> Piece:
        """Return frames of ours with their features, and our columns for the sidecar."""
        rows = {name: piece.rows[name] for name in self.spec.sidecar}
        for name, feature in self.spec.features.items():
            if name in self._vectors:
                rows[name] = self._vectors[name].of(piece.rows[name]).astype(feature["dtype"])
            elif not is_video(feature):
                rows[name] = piece.rows[name]
        images = {
            theirs: np.stack([
                area_averaged(one, *image_size(self.spec.features[theirs]))
                for one in piece.images[ours]
            ]) for theirs, ours in self._cameras.items()
        }
        return Piece(rows=rows, images=images)


def like_another(
    info: SetInfo, ours: Mapping[str, Mapping[str, Any]], embodiment: Embodiment, fps: int,
    cameras: Mapping[str, str], mapping: DataMapping | None = None,
) -> LikeAnother:
    """Return the features of another set, filled with ours.

    Args:
        info: of the other set.
        ours: our state, action and cameras.
        embodiment: ours.
        fps: of our episodes.
        cameras: our camera -> their feature; those of equal names need no line.
        mapping: of their columns to ours, as an import of their set needs it; None: by name.

    Raises:
        ConfigError: another rate or embodiment, a feature that we cannot fill, or entries whose
            names differ and that no mapping names.
    """
    if mapping is not None and mapping.embodiment.hash != embodiment.hash:
        raise ConfigError(
            f"embodiment {mapping.embodiment.name}, the bags have {embodiment.name} "
            f"{embodiment.hash}", where=f"{mapping.where}: embodiment",
            remedy="name the bags' embodiment",
        )
    file = mapping.file if mapping else MappingFile(embodiment=embodiment.name)
    where_mapped = mapping.where if mapping else ""
    if info.fps != fps:
        raise ConfigError(
            f"{info.fps:g} fps, ours has {fps}", where=f"{info.path}: fps",
            remedy=f"export with --resample-to {info.fps:g}",
        )
    own = {
        name.removeprefix(IMAGES): name for name, feature in ours.items() if is_video(feature)
    }
    wanted = {theirs: name for name, theirs in {**file.cameras, **cameras}.items()}
    filled: dict[str, str] = {}
    vectors: dict[str, _Vector] = {}
    lines: list[str] = []
    for name, feature in info.features.items():
        where = f"{info.path}: features.{name}"
        if is_video(feature):
            camera = wanted.get(name, name.removeprefix(IMAGES))
            if camera not in own:
                raise ConfigError(
                    "no camera of ours for this feature", where=where,
                    remedy=f"give --camera NAME={name}, with NAME one of {', '.join(own)}",
                )
            _check_codec(feature, where)
            filled[name] = own[camera]
            height, width = image_size(feature)
            lines.append(f"{name}: camera {camera}, at {width}x{height}")
        elif name in (STATE, ACTION):
            _check_length(feature, ours[name], where)
            columns = _columns(name, ours[name]["names"], file, where_mapped)
            vectors[name] = _vector(columns, feature, where, where_mapped)
            lines.append(_line(name, vectors[name], feature, embodiment))
        elif feature["dtype"] != our_features().get(name, {}).get("dtype"):
            raise ConfigError(
                f"a feature of type {feature['dtype']} that hiwm does not record", where=where,
                remedy="remove it from a copy of the other set, or export without --like and merge "
                "after removing ours there",
            )
    lacking = [name for name in (STATE, ACTION) if name not in vectors]
    if lacking:
        raise ConfigError(
            f"no {' and no '.join(lacking)}", where=f"{info.path}: features",
            remedy="give a data set of robot episodes",
        )
    return LikeAnother(
        SetSpec(
            features=dict(info.features), fps=fps, robot_type=info.robot_type,
            sidecar=our_features(),
        ),
        filled, vectors, tuple(lines),
    )


def _check_codec(feature: Mapping[str, Any], where: str) -> None:
    codec = (feature.get("info") or {}).get("video.codec")
    if codec not in CODECS:
        raise ConfigError(
            f"video codec {codec!r}", where=f"{where}.info.video.codec",
            remedy=f"encode the other set's videos in one of {', '.join(CODECS)}",
        )


def _check_length(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], where: str
) -> None:
    if list(theirs["shape"]) != list(ours["shape"]):
        raise ConfigError(
            f"{theirs['shape'][0]} entries, ours has {ours['shape'][0]}: "
            f"{', '.join(ours['names'])}",
            where=f"{where}.shape", remedy="use an embodiment with the other set's entries",
        )


def _columns(
    feature: str, ours: list[str], file: MappingFile, where: str
) -> list[tuple[str, Column]]:
    """Return their column of each of our entries: that of the mapping, or of the same name."""
    kind, given, default = (
        ("proprioception", file.proprioception, file.state) if feature == STATE
        else ("actions", file.actions, file.action)
    )
    if unknown := set(given) - set(ours):
        raise ConfigError(
            f"the embodiment has no entry {', '.join(sorted(unknown))}",
            where=f"{where}: {kind}", remedy=f"use {', '.join(ours)}",
        )
    columns: list[tuple[str, Column]] = []
    for name in ours:
        asked = given.get(name, name)
        column = asked if isinstance(asked, Column) else Column(at=asked)
        if (column.feature or default) != feature or column.scale == 0.0:
            raise ConfigError(
                f"{column.feature or default}, scale {column.scale:g}: {feature} cannot be filled "
                "by that", where=f"{where}: {kind}.{name}",
                remedy=f"name an entry of {feature}, with a scale that is not 0",
            )
        columns.append((name, column))
    return columns


def _vector(
    columns: list[tuple[str, Column]], theirs: Mapping[str, Any], where: str, mapped: str
) -> _Vector:
    """Return how their entries are filled; each has exactly one of ours.

    Raises:
        ConfigError: an entry of theirs would be filled by none of ours or by several.
    """
    known, length = entry_names(theirs), len(columns)
    ours: dict[int, int] = {}
    lost: list[str] = []
    for i, (name, column) in enumerate(columns):
        place = column.at if isinstance(column.at, int) else (
            known.index(column.at) if column.at in known else -1
        )
        if not 0 <= place < length or place in ours:
            lost.append(name)
        else:
            ours[place] = i
    if lost:
        left = [
            known[place] if place < len(known) else str(place)
            for place in range(length) if place not in ours
        ]
        raise ConfigError(
            f"no entry of theirs for {', '.join(lost)}; theirs that nothing fills: "
            f"{', '.join(left)}", where=f"{where}.names",
            remedy=f"correct {mapped}" if mapped else
            "give --mapping FILE, which says with scale and offset which is which "
            "(docs/exchange.md)",
        )
    order = np.array([ours[place] for place in range(length)], np.intp)
    return _Vector(
        order, np.array([columns[i][1].scale for i in order]),
        np.array([columns[i][1].offset for i in order]),
    )


def _line(
    name: str, vector: _Vector, theirs: Mapping[str, Any], embodiment: Embodiment
) -> str:
    """Return what fills a vector, with our units, for people."""
    entries = embodiment.proprioception if name == STATE else embodiment.actions
    known = entry_names(theirs)
    parts = []
    for place, (i, scale, offset) in enumerate(
        zip(vector.ours, vector.scale, vector.offset, strict=True)
    ):
        value = entries[i].name if offset == 0 else f"({entries[i].name} - {offset:g})"
        value += "" if scale == 1 else f" / {scale:g}"
        parts.append(f"{known[place] if known else place} = {value} [{entries[i].unit}]")
    return f"{name}: {', '.join(parts)}"
