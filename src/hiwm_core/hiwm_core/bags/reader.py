"""Reads one recorded segment as arrays, for training, evaluation and people.

Needs neither rclpy nor the installed interfaces: message definitions come from the bag. The arrays
come from `hiwm_core.frames`, which the live graph uses too.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.bags.cdr import stamp_ns
from hiwm_core.bags.contents import BagContents, errors_of
from hiwm_core.bags.lineage import Lineage
from hiwm_core.bags.mcap_file import Message, decoded
from hiwm_core.bags.topics import Stream, camera_name, observation_stream, stream
from hiwm_core.embodiment import CameraSpec, Embodiment, parse_embodiment
from hiwm_core.errors import BagError, ConfigError
from hiwm_core.frames import (
    JOINT_STATES,
    RobotReader,
    RobotReading,
    camera_stream,
    image_array,
    pose_stream,
    stream_stamps,
)

SOURCE_NONE = 0  # Command.SOURCE_NONE


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The stand-in's ground truth. Only for labels and evaluation, never an input to a model."""

    names: tuple[str, ...]  # as in GroundTruth; each ends with its unit
    values: NDArray[np.float64]  # [T, N]; NaN unknown

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one value over time, [T]; NaN if it was not recorded."""
        if name not in self.names:
            return np.full(len(self.values), np.nan)
        return self.values[:, self.names.index(name)]

    def columns(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Return several values over time, [T, len(names)]; NaN where not recorded."""
        return np.stack([self.column(name) for name in names], axis=1)


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One run on one branch in one epoch, T complete ticks in order.

    `actions[t]` leads from tick t to tick t+1, after limits. It is NaN where unknown: at the last
    tick and before a gap.
    """

    path: Path
    lineage: Lineage
    embodiment: Embodiment
    epoch: int
    stamps_ns: NDArray[np.int64]  # [T]
    steps: NDArray[np.int64]  # [T] control steps since the episode began
    state_ids: list[str]  # [T] empty if the world cannot save
    observations: dict[str, NDArray[np.uint8]]  # camera -> [T, H, W, 3] rgb
    proprio: NDArray[np.float32]  # [T, P] embodiment order and units
    measured: NDArray[np.float32]  # [T, A] measured counterpart of the action
    actions: NDArray[np.float32]  # [T, A] embodiment order and units
    source: NDArray[np.uint8]  # [T] Command.SOURCE_* of actions[t]
    device: list[str]  # [T] source device of actions[t]
    applied_source: NDArray[np.uint8]  # [T] Command.SOURCE_* of the action that led to tick t
    trust: NDArray[np.float32]  # [T] 0..1
    progress: NDArray[np.float32]  # [T] 0..1; NaN unknown
    success: NDArray[np.float32]  # [T] 0..1; NaN unknown
    labels: Labels | None  # None if no ground truth was recorded

    @property
    def length(self) -> int:
        """Number of ticks, T."""
        return len(self.steps)


def read_segment(
    path: str | Path, embodiment: Embodiment | None = None, *, strict: bool = True,
    cameras: Collection[str] | None = None,
) -> Segment:
    """Return the arrays of a bag folder or MCAP file. Reads it once; memory is that of the arrays.

    Ticks are ordered by epoch and step. Each lists its images and joint state by their stamps.
    Ticks that lack one are dropped at the start of a bag whose recorder started late, and at
    the end of a recovered bag.

    Args:
        path: bag folder, or the MCAP file in it.
        embodiment: the caller's; must match the bag's. None takes the bag's.
        strict: refuse a bag that was not closed, is damaged, has fewer messages than its
            metadata.yaml counts, or has other incomplete ticks or gaps. If False, return what can
            be read; gaps in `steps` show what is missing.
        cameras: the ones whose images are read; None reads all. Images of others may be missing.

    Raises:
        BagError: not a bag, no complete tick, another embodiment (names both), or refused by
            `strict`.
        ConfigError: a message does not fit the embodiment.
    """
    path = Path(path)
    with errors_of(path):
        return _segment(BagContents(path), embodiment, strict, cameras)


def _segment(
    contents: BagContents, embodiment: Embodiment | None, strict: bool,
    cameras: Collection[str] | None,
) -> Segment:
    path = contents.path
    streams: _Streams | None = None
    for message in contents.messages():
        if streams is None:  # the lineage is known from the first message on
            own = bag_embodiment(contents.lineage(), embodiment, path)
            streams = _Streams(own, contents, cameras)
        streams.take(message)
    problems = contents.problems()
    if strict and problems:
        raise BagError(
            "; ".join(problems), where=str(path),
            remedy="audit it with python -m hiwm_recording.audit",
        )
    ticks = streams.complete_ticks() if streams else []
    if streams is None or not ticks:
        raise BagError(
            "no tick with all its frames", where=str(path),
            remedy="audit it with python -m hiwm_recording.audit",
        )
    own = streams.embodiment
    messages = [tick.message for tick in ticks]
    stamps = [tick.stamp for tick in ticks]
    steps = np.array([tick.step for tick in messages], np.int64)
    lineage = contents.lineage()
    if strict:
        _refuse_gaps(steps, {tick.epoch for tick in messages}, path)
        _refuse_shared_stamps(stamps, steps, path)
        _refuse_incomplete_ends(streams.ticks, ticks, lineage, path)
    actions, source, device = _actions(messages, steps, own)
    robot = streams.robot(ticks)
    return Segment(
        path=path, lineage=lineage, embodiment=own, epoch=int(messages[0].epoch),
        stamps_ns=np.array(stamps, np.int64), steps=steps,
        state_ids=[str(tick.state_id) for tick in messages],
        observations={
            name: frames.of([tick.parts[camera_stream(name)] for tick in ticks])
            for name, frames in streams.images.items()
        },
        proprio=np.stack([reading.proprio for reading in robot]),
        measured=np.stack([reading.measured for reading in robot]).astype(np.float32),
        actions=actions, source=source, device=device,
        applied_source=np.array([tick.applied_source for tick in messages], np.uint8),
        trust=np.array([tick.trust for tick in messages], np.float32),
        progress=np.array([tick.progress for tick in messages], np.float32),
        success=np.array([tick.success for tick in messages], np.float32),
        labels=_labels(streams.truths, ticks, own),
    )


@dataclass(frozen=True, slots=True)
class _Stamped:
    """A message with its stamp; of a tick, also the stamps of its streams."""

    stamp: int
    message: Any  # decoded
    parts: Mapping[str, int] = field(default_factory=dict)


class _Frames:
    """One camera's images by stamp, in one array sized by the file's index."""

    def __init__(self, camera: CameraSpec, expected: int) -> None:
        self._camera = camera
        self._pixels = np.empty((max(1, expected), camera.height, camera.width, 3), np.uint8)
        self._row_of: dict[int, int] = {}

    def take(self, stamp: int, image: Any) -> None:
        row = self._row_of.setdefault(stamp, len(self._row_of))
        if row == len(self._pixels):
            grown = np.empty((2 * row, *self._pixels.shape[1:]), np.uint8)
            grown[:row] = self._pixels
            self._pixels = grown
        self._pixels[row] = image_array(image, self._camera)

    def __contains__(self, stamp: int | None) -> bool:
        return stamp in self._row_of

    def of(self, stamps: list[int]) -> NDArray[np.uint8]:
        """Return the images of stamps, [T, H, W, 3]."""
        rows = [self._row_of[stamp] for stamp in stamps]
        first = rows[0]
        if rows == list(range(first, first + len(rows))):
            return self._pixels[first : first + len(rows)]
        return self._pixels[rows]


class _Streams:
    """The messages of a segment."""

    def __init__(
        self, embodiment: Embodiment, contents: BagContents, cameras: Collection[str] | None
    ) -> None:
        self.embodiment = embodiment
        self.ticks: list[_Stamped] = []
        self.robot_streams: dict[str, dict[int, Message]] = {
            stream: {} for stream in (JOINT_STATES, *map(pose_stream, embodiment.pose_names))
        }
        self.truths: list[_Stamped] = []
        counts = {
            camera_name(channel): contents.file.stated[channel.topic]
            for channel in contents.file.channels.values()
        }
        self.images = {
            camera.name: _Frames(camera, counts.get(camera.name, 0))
            for camera in embodiment.cameras if cameras is None or camera.name in cameras
        }

    def take(self, message: Message) -> None:
        kind = stream(message.channel)
        if kind is Stream.TICK:
            tick = decoded(message)
            self.ticks.append(_Stamped(stamp_ns(message.data), tick, stream_stamps(tick)))
        elif kind is Stream.IMAGE:
            frames = self.images.get(camera_name(message.channel))
            if frames is not None:
                frames.take(stamp_ns(message.data), decoded(message))
        elif kind is Stream.GROUND_TRUTH:
            self.truths.append(_Stamped(stamp_ns(message.data), decoded(message)))
        elif kind in (Stream.JOINT_STATES, Stream.POSE):
            found = self.robot_streams.get(observation_stream(message.channel.topic))
            if found is not None:
                found[stamp_ns(message.data)] = message

    def complete_ticks(self) -> list[_Stamped]:
        """Return one tick per step, in order; of repeated ticks, the first complete one."""
        by_step: dict[tuple[int, int], _Stamped] = {}
        for tick in self.ticks:
            if all(
                tick.parts.get(stream) in found for stream, found in self.robot_streams.items()
            ) and all(
                tick.parts.get(camera_stream(name)) in frames
                for name, frames in self.images.items()
            ):
                by_step.setdefault(_place(tick), tick)
        return [by_step[key] for key in sorted(by_step)]

    def robot(self, ticks: list[_Stamped]) -> list[RobotReading]:
        """Return the robot at each of some complete ticks."""
        reader, poses = RobotReader(self.embodiment), self.embodiment.pose_names
        return [
            reader.read(self._robot_message(tick, JOINT_STATES), {
                name: self._robot_message(tick, pose_stream(name)) for name in poses
            })
            for tick in ticks
        ]

    def _robot_message(self, tick: _Stamped, stream: str) -> Any:
        return decoded(self.robot_streams[stream][tick.parts[stream]])


def bag_embodiment(lineage: Lineage, wanted: Embodiment | None, path: Path) -> Embodiment:
    """Return the embodiment of a bag.

    Raises:
        BagError: it is another than the wanted one (names both), or is not known.
    """
    if not lineage.embodiment_yaml:
        if wanted is None:
            raise BagError(
                "the bag names no embodiment", where=str(path),
                remedy="give the embodiment that it was recorded with",
            )
        return wanted
    try:
        own = _parsed(lineage.embodiment_yaml)
    except ConfigError:
        own = parse_embodiment(lineage.embodiment_yaml, str(path))  # raises, and names this bag
    if wanted is not None and wanted.hash != own.hash:
        raise BagError(
            f"bag of embodiment {own.name} {own.hash[:12]}, expected {wanted.name} "
            f"{wanted.hash[:12]}", where=str(path),
            remedy="use bags and configuration of one embodiment; the bag's lineage has its text",
        )
    return own


@lru_cache(maxsize=16)
def _parsed(text: str) -> Embodiment:
    """Return the embodiment of a text; bags of one session have the same one."""
    return parse_embodiment(text, "embodiment")


def _refuse_gaps(steps: NDArray[np.int64], epochs: set[int], path: Path) -> None:
    jumps = np.flatnonzero(np.diff(steps) != 1)
    if len(epochs) > 1 or jumps.size:
        what = (
            f"ticks of epochs {sorted(epochs)}" if len(epochs) > 1
            else f"gap between steps {steps[jumps[0]]} and {steps[jumps[0] + 1]}"
        )
        raise BagError(
            what, where=str(path),
            remedy="leave the bag out, or read it with strict=False to skip what is missing",
        )


def _refuse_incomplete_ends(
    ticks: list[_Stamped], complete: list[_Stamped], lineage: Lineage, path: Path
) -> None:
    first, last = _place(complete[0]), _place(complete[-1])
    before = {_place(tick) for tick in ticks if _place(tick) < first}
    behind = {_place(tick) for tick in ticks if _place(tick) > last}
    lost = (set() if lineage.joined_late else before) | (set() if lineage.recovered else behind)
    if lost:
        raise BagError(
            f"{len(lost)} ticks at its ends lack an image or a joint state, such as step "
            f"{min(lost)[1]}", where=str(path),
            remedy="leave the bag out, or read it with strict=False to skip what is missing",
        )


def _place(tick: _Stamped) -> tuple[int, int]:
    return int(tick.message.epoch), int(tick.message.step)


def _refuse_shared_stamps(stamps: list[int], steps: NDArray[np.int64], path: Path) -> None:
    if len(set(stamps)) == len(stamps):
        return
    shared = next(stamp for stamp in stamps if stamps.count(stamp) > 1)
    raise BagError(
        f"steps {[int(s) for s, stamp in zip(steps, stamps, strict=True) if stamp == shared]} "
        "share a stamp", where=str(path),
        remedy="leave the bag out; images cannot be assigned to these steps",
    )


def _actions(
    ticks: list[Any], steps: NDArray[np.int64], embodiment: Embodiment
) -> tuple[NDArray[np.float32], NDArray[np.uint8], list[str]]:
    actions = np.full((len(ticks), embodiment.action_dim), np.nan, np.float32)
    source = np.full(len(ticks), SOURCE_NONE, np.uint8)
    device = [""] * len(ticks)
    for t in range(len(ticks) - 1):
        following = ticks[t + 1]
        if steps[t + 1] == steps[t] + 1 and len(following.applied_action) == actions.shape[1]:
            actions[t] = following.applied_action
            source[t] = following.applied_source
            device[t] = str(following.applied_device)
    return actions, source, device


def _labels(
    truths: list[_Stamped], ticks: list[_Stamped], embodiment: Embodiment
) -> Labels | None:
    """Return the ground truth at each tick's stamp, or the nearest within half a tick."""
    if not truths:
        return None
    names = tuple(str(name) for name in truths[0].message.names)
    values = np.full((len(ticks), len(names)), np.nan)
    exact = {truth.stamp: truth for truth in truths}
    stamps = {tick.stamp for tick in ticks}
    between = _by_clock([truth for truth in truths if truth.stamp not in stamps])
    by_clock = _by_clock(ticks)
    if len(between) != len(by_clock):  # one of the streams paused while the clock was set back
        between, by_clock = [sum(between, [])], [ticks]
    t = 0
    for run, known in zip(by_clock, between, strict=True):
        times = np.array([truth.stamp for truth in known], np.int64)
        for tick in run:
            truth = exact.get(tick.stamp) or _nearest(tick.stamp, known, times, embodiment)
            if truth is not None and tuple(truth.message.names) == names:
                values[t] = truth.message.values
            t += 1
    return Labels(names=names, values=values)


def _by_clock(stamped: list[_Stamped]) -> list[list[_Stamped]]:
    """Split at places where the clock was set back, so that times are unique in each run."""
    runs: list[list[_Stamped]] = [[]]
    for item in stamped:
        if runs[-1] and item.stamp < runs[-1][-1].stamp:
            runs.append([])
        runs[-1].append(item)
    return runs


def _nearest(
    stamp: int, known: list[_Stamped], times: NDArray[np.int64], embodiment: Embodiment
) -> _Stamped | None:
    if not known:
        return None
    distances = np.abs(times - stamp)
    nearest = int(np.argmin(distances))
    return known[nearest] if distances[nearest] <= 0.5e9 / embodiment.rate_hz else None
