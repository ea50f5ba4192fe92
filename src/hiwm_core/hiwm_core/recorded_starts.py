"""The frames and joints of one recorded step, for an imagined episode that begins there.

Only the messages of that step are decoded, so the memory is that of one observation, whatever the
length of the bag.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.bags.cdr import stamp_ns
from hiwm_core.bags.contents import BagContents, errors_of
from hiwm_core.bags.lineage import Lineage
from hiwm_core.bags.mcap_file import decoded
from hiwm_core.bags.reader import bag_embodiment
from hiwm_core.bags.recover import session_bags
from hiwm_core.bags.topics import Stream, camera_name, observation_stream, stream
from hiwm_core.blob_store import BlobStore
from hiwm_core.branch_reader import BranchReader
from hiwm_core.branch_records import Node
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import BagError, ConfigError, StoreError
from hiwm_core.frames import (
    JOINT_STATES,
    RobotReader,
    camera_stream,
    image_array,
    observation_streams,
    pose_stream,
    stream_stamps,
)
from hiwm_core.start_places import BagStep


@dataclass(frozen=True, kw_only=True)
class ObservedStart:
    """What cameras and joints showed at one moment."""

    images: tuple[NDArray[np.uint8], ...]  # [H, W, 3] rgb, in the order of the cameras asked for
    proprioception: NDArray[np.float32]  # [P] in the embodiment's order and units
    measured: NDArray[np.float64]  # [A] measured counterpart of the action
    started_from: str  # place and origin, for lineage


@dataclass(frozen=True, kw_only=True)
class SavedStart:
    """A state that a world model saved, from a blob store."""

    parts: Mapping[str, NDArray[Any]]
    meta: Mapping[str, Any]
    started_from: str  # place and origin, for lineage


def bag_start(place: BagStep, embodiment: Embodiment, cameras: Sequence[str]) -> ObservedStart:
    """Return what a bag has of one step.

    Args:
        place: bag and step.
        embodiment: of the world model; the bag's must match.
        cameras: names, in the order of the world model; other cameras of the bag are ignored.

    Raises:
        BagError: not a bag, another embodiment (names both), no such step, or the step lacks an
            image of one of the cameras, its joints or a pose.
        ConfigError: an image or joint state does not fit the embodiment, or is not finite; names
            the bag.
    """
    with errors_of(place.bag):
        contents = BagContents(place.bag)
        parts = _messages(contents, _stamps_of_step(contents, place, embodiment))
        try:
            return _seen(parts, place, embodiment, cameras, contents.lineage())
        except ConfigError as error:
            raise ConfigError(
                error.what, where=f"{place.bag} step {place.step}: {error.where}",
                remedy="begin at another step",
            ) from None


def session_start(
    session: Path, node_id: str, embodiment: Embodiment, cameras: Sequence[str],
    models: Collection[str],
) -> SavedStart | ObservedStart:
    """Return a stored session's state, or what its bag shows where the world cannot use the state.

    A state can be used if one of `models` saved it. States of other models, and steps of a robot,
    begin from the recorded frames.

    Args:
        session: its folder.
        node_id: `<branch>:<step>`.
        embodiment: of the world model.
        cameras: as in `bag_start`.
        models: hashes of the checkpoint whose states can be used.

    Raises:
        StoreError: no such session or node, or neither a usable state nor a bag of it.
        BagError, ConfigError: as `bag_start`.
    """
    with BranchReader(session / "tree.sqlite") as tree:
        node, sessions = tree.node(node_id), tree.sessions()
    whose = f"session {sessions[-1].session_id}" if sessions else "a session"
    doubt = "it has no saved state"
    if node.state_id:
        try:
            parts, meta = BlobStore(session / "states", read_only=True).get_state(node.state_id)
        except StoreError as error:
            doubt = str(error)
        else:
            if meta.get("model") in models:
                return SavedStart(
                    parts=parts, meta=meta,
                    started_from=f"session:{session}@{node_id} ({whose}, state {node.state_id})",
                )
            doubt = f"its state was imagined by model {str(meta.get('model'))[:12]}"
    bags = _bags_of(session, node)
    for bag in bags:
        place = BagStep(bag=bag, step=node.step)
        if len(bags) == 1 or _has_step(place):
            return bag_start(place, embodiment, cameras)
    raise StoreError(
        f"no episode can begin at {node_id}: {doubt}, and no bag holds the step",
        where=str(session), remedy="choose a recorded state, or start the world with the "
        "checkpoint of that session",
    )


def origin(lineage: Lineage, step: int) -> str:
    """Return where a step was recorded, as text."""
    session = f"session {lineage.session_id or 'unknown'}"
    return f"{session}, {lineage.branch_id}:{step} on {lineage.recorded_on}"


def _bags_of(session: Path, node: Node) -> list[Path]:
    """Return the bags of a node's branch: several where recording stopped and resumed."""
    return [
        bag for bag in session_bags(session)
        if bag.name.startswith(f"{node.branch_id}_e{node.epoch:04d}")
    ]


def _has_step(place: BagStep) -> bool:
    return any(
        stream(message.channel) is Stream.TICK and int(decoded(message).step) == place.step
        for message in BagContents(place.bag).messages()
    )


def _stamps_of_step(
    contents: BagContents, place: BagStep, embodiment: Embodiment
) -> dict[str, int]:
    """Return the stamp, ns, of each stream's message at the step."""
    steps: list[int] = []
    first = True
    for message in contents.messages():
        if first:  # the lineage is known from the first message on
            bag_embodiment(contents.lineage(), embodiment, place.bag)
            first = False
        if stream(message.channel) is Stream.TICK:
            tick = decoded(message)
            if int(tick.step) == place.step:
                return stream_stamps(tick)
            steps.append(int(tick.step))
    has = f"it has steps {min(steps)} to {max(steps)}" if steps else "it has no tick"
    raise BagError(
        f"no step {place.step} in this bag: {has}", where=str(place.bag),
        remedy="name a step that it has",
    )


def _messages(contents: BagContents, stamps: Mapping[str, int]) -> dict[str, Any]:
    """Return the decoded message of each stream with its stamp, as far as the bag has them."""
    found: dict[str, Any] = {}
    for message in contents.messages():
        kind = stream(message.channel)
        if kind is Stream.IMAGE:
            name = camera_stream(camera_name(message.channel))
        elif kind in (Stream.JOINT_STATES, Stream.POSE):
            name = observation_stream(message.channel.topic)
        else:
            continue
        if name not in found and stamps.get(name) == stamp_ns(message.data):
            found[name] = decoded(message)
            if len(found) == len(stamps):
                break
    return found


def _seen(
    parts: Mapping[str, Any], place: BagStep, embodiment: Embodiment, cameras: Sequence[str],
    lineage: Lineage,
) -> ObservedStart:
    lacking = [
        name for name in observation_streams(cameras, embodiment.pose_names) if name not in parts
    ]
    if lacking:
        raise BagError(
            f"step {place.step} lacks {', '.join(lacking)}, which the world model needs",
            where=str(place.bag), remedy="begin at another step, or record with all its cameras",
        )
    robot = RobotReader(embodiment).read(
        parts[JOINT_STATES],
        {name: parts[pose_stream(name)] for name in embodiment.pose_names},
    )
    return ObservedStart(
        images=tuple(
            np.array(image_array(parts[camera_stream(name)], embodiment.camera(name)), order="C")
            for name in cameras
        ),
        proprioception=robot.proprio, measured=robot.measured,
        started_from=f"bag:{place.bag}@{place.step} ({origin(lineage, place.step)})",
    )
