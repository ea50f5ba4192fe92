"""Ticks from a bag that somebody recorded with `ros2 bag record`: raw topics, without ticks.

Ticks lie one control period apart, from the moment when every stream has been seen. A tick shows
the newest message of each stream that had arrived by its time, as the bridge does live. The action
of a tick is the target at the next tick's time, by the newest command received before then.
A command counts until its output's `silence_after_s` after its last target, and not across a gap;
an entry without one has the next measured state. Times are those of arrival, which every bag has.
A stream that is stale for longer than the robot file allows ends the segment.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from hiwm_core.bags import Lineage, Segment
from hiwm_core.control import Source
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import BagError
from hiwm_core.frames import JointValues, RobotReader
from hiwm_core.robot_config import RobotConfig
from hiwm_core.session_lineage import software_version
from hiwm_exchange.command_topics import CommandTopic, Track, has_targets
from hiwm_exchange.foreign import EpisodeError
from hiwm_exchange.segments import (
    IMPORTED,
    NEXT_STATE,
    ImportOptions,
    check_limits,
    made_task,
    next_states,
    without_gaps,
)
from hiwm_robot.camera_images import embodiment_pixels

# A segment is cut after so many ticks or bytes of images, so that an hour's bag needs no hour's
# memory. Images are in memory twice while a segment is made of its ticks.
LONGEST = 3000
LARGEST = 2**29


@dataclass(kw_only=True)
class _Ticks:
    """The ticks of one stretch."""

    stamps_ns: list[int] = field(default_factory=list)
    images: dict[str, list[NDArray[np.uint8]]] = field(default_factory=dict)
    proprio: list[NDArray[np.float32]] = field(default_factory=list)
    measured: list[NDArray[np.float64]] = field(default_factory=list)
    commanded: list[NDArray[np.float64]] = field(default_factory=list)  # by the tick's time
    image_bytes: int = 0

    def full(self) -> bool:
        """Return whether a segment ends here."""
        return len(self.stamps_ns) >= LONGEST or self.image_bytes >= LARGEST


class RawBag:
    """A foreign bag, MCAP or SQLite, seen through a robot file.

    Args:
        path: folder of the bag.
        robot: names its topics; they may have any prefix in the bag.
        embodiment: the robot's.
        write: receives a line for each command topic that the bag lacks.
        prefix: of the topics, where several in the bag end alike; empty: whatever fits.

    Raises:
        BagError: the bag cannot be read, lacks a stream of the robot, or has several topics that
            may be one.
    """

    def __init__(
        self, path: Path, robot: RobotConfig, embodiment: Embodiment,
        write: Callable[[str], None], prefix: str = "",
    ) -> None:
        self._path, self._robot, self._embodiment = path, robot, embodiment
        self._prefix = "/" + prefix.strip("/") if prefix.strip("/") else ""
        self._reader = RobotReader(embodiment)
        with _damage(path), _reader_of(path) as bag:
            topics = sorted({connection.topic for connection in bag.connections})
        self._joints = {
            self._topic(source.topic, topics): source for source in robot.joint_states.values()
        }
        self._poses = {
            self._topic(source.topic, topics): name for name, source in robot.poses.items()
            if name in embodiment.pose_names
        }
        self._cameras = {
            self._topic(robot.cameras[camera.name].image, topics): camera
            for camera in embodiment.cameras
        }
        self._commands: dict[str, list[CommandTopic]] = {}
        for name, output in robot.outputs.items():
            found = self._find(output.topic, topics) if has_targets(output) else ""
            if found:
                self._commands.setdefault(found, []).append(CommandTopic(output, embodiment))
            else:
                write(f"{path.name}: no targets of output {name} ({output.address}): its entries "
                      f"have the {NEXT_STATE}")

    def segments(
        self, number: int, options: ImportOptions, leave_out: Callable[[EpisodeError], None]
    ) -> Iterator[Segment]:
        """Yield the segments of the bag.

        Args:
            number: of the bag in its session, from 0.
            options: task, robot and source of the segments.
            leave_out: takes the error of a stretch whose actions are outside their limits; if it
                returns, the stretch is left out.

        Raises:
            BagError: the bag cannot be read, or has no tick.
            ConfigError: a message does not fit the embodiment.
        """
        part = 0
        for ticks in self._stretches():
            if len(ticks.stamps_ns) < 2:
                continue
            part += 1
            try:
                segment = self._segment(ticks, number, part, options)
            except EpisodeError as error:
                leave_out(error)
                continue
            yield from without_gaps(segment, 1.0 / self._embodiment.rate_hz)
        if not part:
            raise BagError(
                "no stretch in which every stream was fresh", where=str(self._path),
                remedy="compare the topics and stale_after_s of the robot file with the bag "
                "(ros2 bag info)",
            )

    # -- reading ---------------------------------------------------------------------------------

    def _stretches(self) -> Iterator[_Ticks]:
        """Yield stretches of ticks in which every stream is fresh."""
        period_ns = round(1e9 / self._embodiment.rate_hz)
        state = _State(self._embodiment)
        ticks, next_ns, now_ns = _Ticks(), 0, 0
        wanted = {*self._joints, *self._poses, *self._cameras, *self._commands}
        for topic, now_ns, message in self._messages(wanted):
            while next_ns and now_ns > next_ns:
                if self._fresh(state, next_ns):
                    self._tick(state, ticks, next_ns)
                elif ticks.stamps_ns:
                    yield ticks
                    ticks = _Ticks()
                    state.orders.clear()
                next_ns += period_ns
                if not ticks.stamps_ns and not self._fresh(state, next_ns):
                    next_ns = 0  # the next stretch begins when every stream is there again
                if ticks.full():
                    yield ticks
                    ticks = _Ticks()
            self._take(state, topic, now_ns, message)
            if not next_ns and self._fresh(state, now_ns):
                next_ns = now_ns
        if next_ns and next_ns == now_ns and self._fresh(state, next_ns):
            self._tick(state, ticks, next_ns)
        yield ticks

    def _messages(self, topics: set[str]) -> Iterator[tuple[str, int, Any]]:
        """Yield topic, time of arrival in ns, and content of each message of some topics."""
        with _damage(self._path), _reader_of(self._path) as bag:
            connections = [one for one in bag.connections if one.topic in topics]
            for connection, now_ns, raw in bag.messages(connections):
                yield connection.topic, now_ns, bag.deserialize(raw, connection.msgtype)

    def _take(self, state: "_State", topic: str, now_ns: int, message: Any) -> None:
        if topic in self._joints:
            state.seen[topic] = now_ns
            for entry in self._joints[topic].entries:
                state.joint(entry.joint, entry.driver, entry.gripper, message)
        if topic in self._cameras:
            state.seen[topic], state.images[topic] = now_ns, message
        if topic in self._poses:
            state.seen[topic], state.poses[self._poses[topic]] = now_ns, message
        for command in self._commands.get(topic, []):
            state.orders |= {
                place: _Order(now_ns, track, command.silence_after_s)
                for place, track in command.tracks(message).items()
            }

    def _fresh(self, state: "_State", now_ns: int) -> bool:
        """Return whether every stream has been seen and is young enough."""
        limits: list[tuple[str, float | None]] = [
            *((topic, source.stale_after_s) for topic, source in self._joints.items()),
            *((topic, self._robot.poses[name].stale_after_s)
              for topic, name in self._poses.items()),
            *((topic, self._robot.cameras[camera.name].stale_after_s)
              for topic, camera in self._cameras.items()),
        ]
        return all(
            topic in state.seen
            and now_ns - state.seen[topic] <= 1e9 * (own or self._robot.stale_after_s)
            for topic, own in limits
        ) and state.missing(self._joints.values()) == []

    def _tick(self, state: "_State", ticks: _Ticks, now_ns: int) -> None:
        reading = self._reader.read(state.joint_values(), state.poses)
        ticks.stamps_ns.append(now_ns)
        for topic, camera in self._cameras.items():
            pixels = embodiment_pixels(
                state.images[topic], camera, self._robot.cameras[camera.name]
            )
            ticks.images.setdefault(camera.name, []).append(pixels)
            ticks.image_bytes += pixels.nbytes
        ticks.proprio.append(reading.proprio)
        ticks.measured.append(reading.measured)
        ticks.commanded.append(state.commanded(now_ns))

    # -- segments --------------------------------------------------------------------------------

    def _segment(
        self, ticks: _Ticks, number: int, part: int, options: ImportOptions
    ) -> Segment:
        embodiment, length = self._embodiment, len(ticks.stamps_ns)
        measured = np.stack(ticks.measured).astype(np.float32)
        followed = next_states(measured)
        commanded = np.full_like(followed, np.nan)
        commanded[:-1] = np.stack(ticks.commanded)[1:]
        given = np.isfinite(commanded)
        limits = (embodiment.lower, embodiment.upper)
        actions = np.where(given, commanded, np.clip(followed, *limits)).astype(np.float32)
        where = f"{self._path}: commands"
        actions[:-1] = check_limits(actions[:-1], embodiment, where, clip=options.clip)
        name = f"bag_{number + 1:04d}_{part:03d}"
        task = options.task or made_task("", embodiment, length)
        lineage = Lineage(
            session_id=options.session_id, episode_id=name, branch_id=f"{name}-b000",
            epoch=number + 1, started_from=f"import of {self._path.name}", world="hardware",
            robot=options.robot or self._robot.name, stand_in=self._robot.stand_in,
            embodiment=embodiment.name, embodiment_hash=embodiment.hash,
            embodiment_yaml=embodiment.text, task=task.name, task_hash=task.hash,
            task_yaml=task.text, software_version=software_version(),
            period_s=1.0 / embodiment.rate_hz,
        )
        source = np.full(length, int(options.source), np.uint8)
        ones = np.ones(length, np.float32)
        unknown = np.full(length, np.nan, np.float32)
        return Segment(
            path=self._path, lineage=lineage, embodiment=embodiment, epoch=number + 1,
            stamps_ns=np.array(ticks.stamps_ns, np.int64), steps=np.arange(length),
            state_ids=[""] * length,
            observations={name: np.stack(images) for name, images in ticks.images.items()},
            proprio=np.stack(ticks.proprio), measured=measured, actions=actions, source=source,
            device=[_device(row, embodiment) for row in given],
            applied_source=np.concatenate(([Source.NONE], source[:-1])).astype(np.uint8),
            trust=ones, progress=unknown, success=unknown, labels=None,
        )

    # -- topics ----------------------------------------------------------------------------------

    def _topic(self, name: str, topics: list[str]) -> str:
        found = self._find(name, topics)
        if not found:
            raise BagError(
                f"no topic {name}", where=str(self._path),
                remedy=f"correct the robot file; the bag has {', '.join(topics)}",
            )
        return found

    def _find(self, name: str, topics: list[str]) -> str:
        """Return the topic of a name of the robot file; empty if the bag has none.

        It has the prefix, or the name as it is; without a prefix, else any namespace.
        """
        bare = "/" + name.strip("/")
        for whole in (self._prefix + bare, bare):
            if whole in topics:
                return whole
        found = [one for one in topics if one.endswith(bare)] if name and not self._prefix else []
        if len(found) > 1:
            raise BagError(
                f"several topics end in {bare}: {', '.join(found)}", where=str(self._path),
                remedy=f"give --prefix, as --prefix {found[0].removesuffix(bare)}, or full names "
                "in the robot file",
            )
        return found[0] if found else ""


@dataclass(frozen=True)
class _Order:
    """The newest command of an entry."""

    arrived_ns: int
    track: Track
    lasts_s: float  # after its last target


class _State:
    """The newest of everything."""

    def __init__(self, embodiment: Embodiment) -> None:
        self.seen: dict[str, int] = {}  # topic -> time of arrival, ns
        self.images: dict[str, Any] = {}  # by topic
        self.poses: dict[str, Any] = {}  # by stream
        self.orders: dict[int, _Order] = {}  # by entry of the action array
        self._actions = embodiment.action_dim
        self._joints: dict[str, tuple[float, float, float]] = {}  # position, velocity, effort

    def joint(self, joint: str, driver: str, gripper: Any, message: Any) -> None:
        """Take a joint out of a joint state; one that it does not name keeps its value."""
        names = list(message.name)
        if driver not in names:
            return
        i = names.index(driver)
        values = [
            float(field[i]) if i < len(field) else 0.0
            for field in (message.position, message.velocity, message.effort)
        ]
        if gripper is not None:
            values = [gripper.ratio(values[0]), values[1] / gripper.span, values[2]]
        self._joints[joint] = (values[0], values[1], values[2])

    def commanded(self, now_ns: int) -> NDArray[np.float64]:
        """Return what the newest commands ask for at a time, [A]; NaN where they are too old."""
        targets = np.full(self._actions, np.nan)
        for entry, order in self.orders.items():
            after_s = 1e-9 * (now_ns - order.arrived_ns)
            if after_s <= order.track.end_s + order.lasts_s:
                targets[entry] = order.track.at(after_s)
        return targets

    def missing(self, sources: Any) -> list[str]:
        """Return joints that have not been seen."""
        return [
            entry.joint for source in sources for entry in source.entries
            if entry.joint not in self._joints
        ]

    def joint_values(self) -> JointValues:
        """Return all joints."""
        position, velocity, effort = zip(*self._joints.values(), strict=True)
        return JointValues(
            name=list(self._joints), position=position, velocity=velocity, effort=effort
        )


def _reader_of(path: Path) -> AnyReader:
    return AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Raise BagError in place of whatever the libraries raise for a bag that they cannot read."""
    try:
        yield
    except Exception as error:
        raise BagError(
            f"cannot be read: {str(error) or type(error).__name__}", where=str(path),
            remedy="give the folder of a bag, with its metadata.yaml (ros2 bag reindex)",
        ) from error


def _device(given: NDArray[np.bool_], embodiment: Embodiment) -> str:
    """Return what the tick's action was made of."""
    if given.all():
        return IMPORTED
    if not given.any():
        return NEXT_STATE
    names = [entry.name for entry, one in zip(embodiment.actions, given, strict=True) if not one]
    return f"{IMPORTED}; {NEXT_STATE}: {', '.join(names)}"
