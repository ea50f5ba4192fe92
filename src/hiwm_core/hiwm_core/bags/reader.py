"""Arrays of one recorded segment, for training, evaluation and people.

Needs neither rclpy nor the installed interfaces: message definitions come from the bag. The arrays
are made by `hiwm_core.frames`, the code the live graph uses.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.bags.audit import bag_lineage, mcap_path
from hiwm_core.bags.cdr import epoch_and_step, stamp_ns
from hiwm_core.bags.lineage import Lineage
from hiwm_core.bags.mcap_file import Message, decoded, read_mcap
from hiwm_core.embodiment import Embodiment, parse_embodiment
from hiwm_core.errors import BagError
from hiwm_core.frames import image_array, joint_state_array

_IMAGE_TOPIC = re.compile(r"cameras/([^/]+)/image_raw$")
SOURCE_NONE = 0  # Command.SOURCE_NONE


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The stand-in's ground truth. For labels and evaluation alone: never an input to a model."""

    object_pose: NDArray[np.float64]  # [T, 3] x [m], y [m], yaw [rad], table frame; NaN unknown
    coverage: NDArray[np.float64]  # [T] 0..1; NaN unknown


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One run on one branch in one epoch, T complete ticks in order.

    `actions[t]` leads from tick t to tick t+1, after limits; NaN where nothing is known of it: at
    the last tick, and before a gap.
    """

    path: Path
    lineage: Lineage
    embodiment: Embodiment
    epoch: int
    stamps_ns: NDArray[np.int64]  # [T]
    steps: NDArray[np.int64]  # [T] control steps since the episode began
    state_ids: list[str]  # [T] empty where the world cannot save
    observations: dict[str, NDArray[np.uint8]]  # camera -> [T, H, W, 3] rgb
    proprio: NDArray[np.float32]  # [T, P] embodiment order and units
    actions: NDArray[np.float32]  # [T, A] embodiment order and units
    source: NDArray[np.uint8]  # [T] Command.SOURCE_* of actions[t]
    device: list[str]  # [T] who gave actions[t]
    applied_source: NDArray[np.uint8]  # [T] Command.SOURCE_* of the action that led to tick t
    trust: NDArray[np.float32]  # [T] 0..1
    progress: NDArray[np.float32]  # [T] 0..1; NaN unknown
    success: NDArray[np.float32]  # [T] 0..1; NaN unknown
    labels: Labels | None  # None where no ground truth was recorded

    @property
    def length(self) -> int:
        """Number of ticks, T."""
        return len(self.steps)


def read_segment(
    path: str | Path, embodiment: Embodiment | None = None, *, strict: bool = True
) -> Segment:
    """Return the arrays of a bag folder or MCAP file, closed or not.

    Ticks at either end that lack a frame or a joint state (the recorder joined late, or was
    killed) are left out.

    Args:
        path: bag folder, or the MCAP file in it.
        embodiment: what the caller works with; must be the bag's own. None takes the bag's.
        strict: refuse a bag with incomplete ticks or gaps in the middle; otherwise such ticks are
            left out, and `steps` shows it.

    Raises:
        BagError: not a bag, no complete tick, another embodiment (names both), gaps.
        ConfigError: a message does not fit the embodiment.
    """
    path = Path(path)
    contents = read_mcap(mcap_path(path))
    lineage = bag_lineage(path, contents)
    own = _own_embodiment(lineage, embodiment, path)
    stamped = _by_stamp(contents.messages, own)
    ticks = _unique(
        [tick for tick in stamped.ticks if stamped.complete(stamp_ns(tick.data), own)]
    )
    if not ticks:
        raise BagError(
            "no tick with all its frames", where=str(path),
            remedy="audit it with python -m hiwm_recording.audit",
        )
    shown = [decoded(tick) for tick in ticks]
    stamps = [stamp_ns(tick.data) for tick in ticks]
    steps = np.array([tick.step for tick in shown], np.int64)
    if strict:
        _refuse_gaps(steps, {tick.epoch for tick in shown}, path)
    actions, source, device = _actions(shown, steps, own)
    return Segment(
        path=path, lineage=lineage, embodiment=own, epoch=int(shown[0].epoch),
        stamps_ns=np.array(stamps, np.int64), steps=steps,
        state_ids=[str(tick.state_id) for tick in shown],
        observations={
            camera.name: _images(stamped.images[camera.name], stamps, camera)
            for camera in own.cameras
        },
        proprio=np.stack(
            [joint_state_array(decoded(stamped.joints[stamp]), own) for stamp in stamps]
        ),
        actions=actions, source=source, device=device,
        applied_source=np.array([tick.applied_source for tick in shown], np.uint8),
        trust=np.array([tick.trust for tick in shown], np.float32),
        progress=np.array([tick.progress for tick in shown], np.float32),
        success=np.array([tick.success for tick in shown], np.float32),
        labels=_labels(stamped.truths, stamps, own),
    )


class _Stamped:
    """The messages a segment is made of, by header stamp."""

    def __init__(self) -> None:
        self.ticks: list[Message] = []
        self.images: dict[str, dict[int, Message]] = {}
        self.joints: dict[int, Message] = {}
        self.truths: dict[int, Message] = {}

    def complete(self, stamp: int, embodiment: Embodiment) -> bool:
        return stamp in self.joints and all(
            stamp in self.images.get(camera.name, {}) for camera in embodiment.cameras
        )


def _own_embodiment(lineage: Lineage, wanted: Embodiment | None, path: Path) -> Embodiment:
    if not lineage.embodiment_yaml:
        if wanted is None:
            raise BagError(
                "bag names no embodiment", where=str(path),
                remedy="give the embodiment it was recorded with",
            )
        return wanted
    own = parse_embodiment(lineage.embodiment_yaml, str(path))
    if wanted is not None and wanted.hash != own.hash:
        raise BagError(
            f"bag of embodiment {own.name} {own.hash[:12]}, wanted {wanted.name} "
            f"{wanted.hash[:12]}", where=str(path),
            remedy="use bags and configuration of one embodiment; its text is in the bag's lineage",
        )
    return own


def _by_stamp(messages: list[Message], embodiment: Embodiment) -> _Stamped:
    stamped = _Stamped()
    for message in sorted(messages, key=lambda message: message.time_ns):
        topic = message.channel.topic
        if topic.endswith("/tick"):
            stamped.ticks.append(message)
        elif camera := _IMAGE_TOPIC.search(topic):
            stamped.images.setdefault(camera.group(1), {})[stamp_ns(message.data)] = message
        elif topic.endswith("/driver/ground_truth"):
            stamped.truths[stamp_ns(message.data)] = message
        elif topic.endswith("/joint_states") and "/driver/" not in topic:
            stamped.joints[stamp_ns(message.data)] = message
    return stamped


def _unique(ticks: list[Message]) -> list[Message]:
    """One tick a step, the first complete one of those published again, ordered by stamp."""
    by_step: dict[tuple[int, int], Message] = {}
    for tick in sorted(ticks, key=lambda tick: stamp_ns(tick.data)):
        by_step.setdefault(epoch_and_step(tick.data), tick)
    return list(by_step.values())


def _images(messages: dict[int, Message], stamps: list[int], camera: Any) -> NDArray[np.uint8]:
    frames = np.empty((len(stamps), camera.height, camera.width, 3), np.uint8)
    for t, stamp in enumerate(stamps):
        frames[t] = image_array(decoded(messages[stamp]), camera)
    return frames


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
    truths: dict[int, Message], stamps: list[int], embodiment: Embodiment
) -> Labels | None:
    """The truth of each tick's stamp, or the nearest within half a tick."""
    if not truths:
        return None
    known = np.array(sorted(truths), np.int64)
    reach_ns = int(0.5e9 / embodiment.rate_hz)
    pose = np.full((len(stamps), 3), np.nan)
    coverage = np.full(len(stamps), np.nan)
    for t, stamp in enumerate(stamps):
        nearest = int(known[np.argmin(np.abs(known - stamp))])
        if abs(nearest - stamp) <= reach_ns:
            truth = decoded(truths[nearest])
            pose[t] = truth.object_pose
            coverage[t] = truth.coverage
    return Labels(object_pose=pose, coverage=coverage)
