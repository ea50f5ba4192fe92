"""What is exported: bags as recorded, or a post-training set with its weights as copies."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import yaml
import zarr
from numpy.typing import NDArray

from hiwm_core.bags import Lineage, Segment
from hiwm_core.bags.metadata import read_information
from hiwm_core.bags.resample import ticks_before
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import BagError
from hiwm_exchange.features import has_action, piece_of
from hiwm_exchange.lerobot.episodes import Piece
from hiwm_exchange.plan import Entry, EpisodesPer, Part, path_plan, segment_plan
from hiwm_exchange.repetition import Run, copies_of, realised, runs_of
from hiwm_learning.datasets.episodes import Episodes, named_damage, read_array
from hiwm_learning.datasets.recorded import RecordedEpisodes
from hiwm_learning.datasets.usable_segments import find_bags
from hiwm_learning.posttrain import SetOptions, bags_content, make_set

# Bags kept in memory: paths that fork from one branch follow each other.
_KEPT_BAGS = 2


@dataclass(frozen=True, kw_only=True)
class Exported:
    """One episode to write."""

    pieces: tuple[Piece, ...]
    task: str  # in words
    copies: int = 1


class EpisodeSource(Protocol):
    """Episodes in the order of a plan. `read` is called from one thread, in order."""

    embodiment: Embodiment
    period_s: float
    entries: int
    fingerprint: str  # changes with everything that is exported
    robot_type: str

    def read(self, entry: int) -> Exported | None:
        """Return an episode; None if it is left out."""

    def description(self) -> dict[str, Any]:
        """Return what was exported, JSON values; called at the end."""


class BagSource:
    """Recorded sessions.

    Args:
        places: sessions, or folders of bags.
        per: what makes an episode.
        resample_hz: see `RecordedEpisodes`, as `without_tree`.
        without_tree: use bags of a session whose tree is lost.
        write: receives progress lines.

    Raises:
        BagError: no bag, or none usable.
    """

    def __init__(
        self, places: Sequence[Path], per: EpisodesPer, *, resample_hz: float | None,
        without_tree: bool, write: Callable[[str], None],
    ) -> None:
        bags = find_bags(places)
        self._per = per
        self._bags = RecordedEpisodes(
            embodiment=None, resample_hz=resample_hz, without_tree=without_tree, write=write
        )
        self._plan: list[Entry] = (
            segment_plan(bags) if per == "segment"
            else path_plan(bags, self._bags.is_discarded, write)
        )
        self._kept: OrderedDict[Path, Segment | None] = OrderedDict()
        self.entries = len(self._plan)
        self.fingerprint = hashlib.sha256(
            f"{per} {bags_content(bags, resample_hz)}".encode()
        ).hexdigest()
        starts = (self._bag(entry[0]) for entry in self._plan)
        readable = (self._bags.path([segment]) for segment in starts if segment is not None)
        first = next((found[0] for found in readable if found), None)
        if first is None:
            raise BagError(
                "no usable bag", where=", ".join(map(str, places)),
                remedy="audit them with python -m hiwm_recording.audit",
            )
        self.embodiment = first.segment.embodiment
        self.period_s = first.info.period_s
        self.robot_type = first.info.robot or self.embodiment.name
        self._recorded_on = {first.info.recorded_on}
        self._tasks = {first.segment.lineage.task: first.segment.lineage.task_yaml}

    def read(self, entry: int) -> Exported | None:
        """Return an episode; None if one of its bags is left out, or no action is known."""
        segments: list[Segment] = []
        for part in self._plan[entry]:
            segment = self._bag(part)
            if segment is None:
                return None
            if part.before_step is not None:
                segment = ticks_before(segment, part.before_step)
            if segment.length:
                segments.append(segment)
        for before, after in pairwise(segments):
            if before.steps[-1] + 1 != after.steps[0]:
                self._bags.leave_out(
                    f"the path to {after.lineage.branch_id}: steps {before.steps[-1] + 1} to "
                    f"{after.steps[0] - 1} before it are missing"
                )
                return None
        pieces: list[Piece] = []
        task = ""
        for episode in self._bags.path(segments):
            if not has_action(episode.columns):
                continue
            cameras = {camera.name for camera in self.embodiment.cameras}
            columns = {
                name: values for name, values in episode.columns.items()
                if not name.startswith("images/")
            }
            images = {name: episode.columns[f"images/{name}"] for name in cameras}
            pieces.append(piece_of(episode.info, columns, images))
            lineage = episode.segment.lineage
            task = instruction(lineage.task_yaml, lineage.task)
            self._recorded_on.add(episode.info.recorded_on)
            self._tasks[lineage.task] = lineage.task_yaml
        return Exported(pieces=tuple(pieces), task=task) if pieces else None

    def description(self) -> dict[str, Any]:
        """Return what was exported."""
        return {
            "episodes_per": self._per, "left_out": self._bags.left_out,
            "lost_marks": self._bags.missing, "recorded_on": sorted(self._recorded_on),
            "tasks": self._tasks,
        }

    def _bag(self, part: Part) -> Segment | None:
        bag = part.bag
        if bag not in self._kept:
            self._kept[bag] = self._bags.segment(bag, also_discarded=part.is_discarded)
            while len(self._kept) > _KEPT_BAGS:
                self._kept.popitem(last=False)
        return self._kept[bag]


@dataclass(kw_only=True)
class SetSource:
    """A post-training set: every run of learnt frames is an episode, with copies for its weight.

    Args:
        options: the parts of the set.
        growth: frames written for each frame learnt from.
        cache: folder of built training sets.
        write: receives progress lines.
    """

    options: SetOptions
    growth: float
    cache: Path
    write: Callable[[str], None]
    embodiment: Embodiment = field(init=False)
    period_s: float = field(init=False)
    entries: int = field(init=False)
    fingerprint: str = field(init=False)
    robot_type: str = field(init=False)

    def __post_init__(self) -> None:
        """Select and weigh the set. Raises BagError: see `make_set`."""
        self._episodes, weighted, store = make_set(self.options, self.cache, self.write, ())
        self.weighted = weighted
        self._runs = runs_of(self._episodes, weighted.weights)
        self._copies = copies_of(self._runs, self.growth)
        self._chosen = [i for i, count in enumerate(self._copies) if count]
        self.embodiment = self._episodes.embodiment
        self._store = store
        with named_damage(store):
            root = zarr.open_group(str(store), mode="r")
            self._images = {
                camera.name: read_array(root, f"images/{camera.name}")
                for camera in self.embodiment.cameras
            }
        self.period_s = self._episodes.period_s
        self.entries = len(self._chosen)
        first = self._episodes.infos[self._runs[0].episode]
        self.robot_type = first.robot or self.embodiment.name
        self._tasks = _recorded_tasks((
            *self.options.demonstrations, *self.options.rollouts, *self.options.corrections
        ))
        self.fingerprint = hashlib.sha256(repr((
            store.name, self._runs, self._copies
        )).encode()).hexdigest()

    def read(self, entry: int) -> Exported | None:
        """Return a run as an episode."""
        number = self._chosen[entry]
        run = self._runs[number]
        info = self._episodes.infos[run.episode]
        frames = slice(run.start, run.end)
        piece = piece_of(
            info, frame_columns(self._episodes, frames), self._run_images(run),
            self.weighted.weights[frames],
        )
        return Exported(
            pieces=(piece,), copies=self._copies[number],
            task=instruction(self._tasks.get(info.task_hash, ""), info.task),
        )

    def description(self) -> dict[str, Any]:
        """Return what was exported."""
        return {
            "set": self.options.kind, "weighted": self.weighted.description, "growth": self.growth,
            "realised": realised(self._episodes, self._runs, self._copies),
            "recorded_on": sorted({info.recorded_on for info in self._episodes.infos}),
        }

    def _run_images(self, run: Run) -> dict[str, NDArray[np.uint8]]:
        with named_damage(self._store):
            return {
                name: np.asarray(images[run.start : run.end])
                for name, images in self._images.items()
            }


def frame_columns(episodes: Episodes, frames: slice) -> dict[str, NDArray[Any]]:
    """Return the columns of some frames of a training set, without images."""
    return {
        "proprio": episodes.proprio[frames], "actions": episodes.actions[frames],
        "source": episodes.source[frames], "provenance": episodes.provenance[frames],
        "steps": episodes.steps[frames], "trust": episodes.trust[frames],
        "progress": episodes.progress[frames], "success": episodes.success[frames],
    }


def instruction(task_yaml: str, name: str) -> str:
    """Return a task in words, from its recorded text; the name if the text has none."""
    try:
        data = yaml.safe_load(task_yaml)
        return str(data["instruction"])
    except (yaml.YAMLError, KeyError, TypeError):
        return name or "no task"


def _recorded_tasks(places: Sequence[Path]) -> dict[str, str]:
    """Return the texts of the tasks that bags were recorded with, by their hash."""
    tasks: dict[str, str] = {}
    for bag in find_bags(places):
        try:
            custom = read_information(bag).get("custom_data") or {}
        except BagError:
            continue  # the training set left it out
        lineage = Lineage.from_custom_data(custom)
        tasks[lineage.task_hash] = lineage.task_yaml
    return tasks
