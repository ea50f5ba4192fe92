"""What was seen of a running graph. Filled by `watcher`; pure. Tested by ``test_inspection.py``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

# A stamp further from this machine's clock than this is of another clock [s].
CLOCK_TOLERANCE_S = 1.0


@dataclass(kw_only=True)
class Stream:
    """Arrivals and stamps of one topic."""

    count: int = 0
    zero: int = 0  # stamps of zero or below
    repeated: int = 0  # equal to the stamp before
    backward: int = 0  # before the stamp before
    offset_s: float = math.nan  # newest stamp minus this machine's clock
    _first_s: float = math.nan
    _last_s: float = math.nan
    _stamps: dict[object, int] = field(default_factory=dict)  # newest, by part

    def add(
        self, stamp_ns: int, clock_ns: int, arrival_s: float, part: object = None
    ) -> None:
        """Count a message.

        Args:
            stamp_ns: of its header.
            clock_ns: this machine's clock.
            arrival_s: steady clock.
            part: what it holds, if a topic's messages differ: parts may share a stamp.
        """
        self.count += 1
        if self.count == 1:
            self._first_s = arrival_s
        self._last_s = arrival_s
        if stamp_ns <= 0:
            self.zero += 1
        elif part in self._stamps:
            self.repeated += stamp_ns == self._stamps[part]
            self.backward += stamp_ns < self._stamps[part]
        self._stamps[part] = stamp_ns
        self.offset_s = 1e-9 * (stamp_ns - clock_ns)

    @property
    def rate_hz(self) -> float:
        """Messages per second; NaN with fewer than two."""
        seconds = self._last_s - self._first_s
        return (self.count - 1) / seconds if self.count > 1 and seconds > 0 else math.nan

    @property
    def stamped(self) -> bool:
        """Whether the stamps can be used: not zero, and not the same again and again."""
        return self.count > 0 and self.zero == 0 and self.repeated * 2 < max(self.count - 1, 1)

    @property
    def other_clock(self) -> bool:
        """Whether the stamps follow another clock than this machine's."""
        return self.stamped and abs(self.offset_s) > CLOCK_TOLERANCE_S


@dataclass(kw_only=True)
class JointTopic:
    """One topic of sensor_msgs/JointState that something publishes."""

    topic: str
    publishers: tuple[str, ...] = ()  # full names of nodes
    stream: Stream = field(default_factory=Stream)
    names: list[str] = field(default_factory=list)  # in the order of their first appearance
    lower: dict[str, float] = field(default_factory=dict)  # smallest position seen
    upper: dict[str, float] = field(default_factory=dict)  # largest position seen
    last: dict[str, float] = field(default_factory=dict)
    partial: bool = False  # messages differ in their joints
    faults: set[str] = field(default_factory=set)
    _sets: set[frozenset[str]] = field(default_factory=set)

    def add(self, names: Sequence[str], positions: Sequence[float]) -> None:
        """Add the positions of a message."""
        if len(set(names)) < len(names):
            self.faults.add("a joint's name twice in one message")
            return
        if len(positions) != len(names):
            self.faults.add("fewer positions than names")
            return
        self._sets.add(frozenset(names))
        self.partial = len(self._sets) > 1
        for name, position in zip(names, positions, strict=True):
            if name not in self.names:
                self.names.append(name)
            if not math.isfinite(position):
                self.faults.add(f"a position of {name} that is not finite")
                continue
            self.lower[name] = min(position, self.lower.get(name, position))
            self.upper[name] = max(position, self.upper.get(name, position))
            self.last[name] = position


@dataclass(kw_only=True)
class ImageTopic:
    """One topic of images."""

    topic: str
    compressed: bool
    stream: Stream = field(default_factory=Stream)
    encoding: str = ""  # of the first image; of a compressed one the header's format
    size: tuple[int, int] | None = None  # width, height [px]; None until an image was read
    info: str = ""  # topic of its camera_info, if there is one
    fault: str = ""  # why its images cannot be used


@dataclass(kw_only=True)
class PoseTopic:
    """One topic of geometry_msgs/PoseStamped that something publishes."""

    topic: str
    stream: Stream = field(default_factory=Stream)
    frame: str = ""
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)  # newest [m]
    quaternion: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)  # newest, x, y, z, w


@dataclass(kw_only=True)
class CommandTopic:
    """One topic that a driver or controller listens to, of a type that commands robots."""

    topic: str
    type: str
    subscribers: tuple[str, ...]  # full names of nodes
    publishers: tuple[str, ...] = ()


@dataclass(kw_only=True)
class ActionServer:
    """One action that a driver or controller offers."""

    name: str
    type: str
    node: str  # full name


@dataclass(kw_only=True)
class Controller:
    """What a controller manager says of a controller."""

    manager: str
    name: str
    type: str
    state: str
    interfaces: tuple[str, ...] = ()  # command interfaces that it needs, such as elbow/position


@dataclass(kw_only=True)
class Flag:
    """A topic that may say that the robot must not move."""

    topic: str
    type: str
    latched: bool
    value: bool | float | None = None


@dataclass(kw_only=True)
class Sighting:
    """All that was seen."""

    seconds: float
    nodes: tuple[str, ...] = ()
    joint_topics: list[JointTopic] = field(default_factory=list)
    images: list[ImageTopic] = field(default_factory=list)
    poses: list[PoseTopic] = field(default_factory=list)
    commands: list[CommandTopic] = field(default_factory=list)
    actions: list[ActionServer] = field(default_factory=list)
    controllers: list[Controller] = field(default_factory=list)
    parameters: dict[str, tuple[str, ...]] = field(default_factory=dict)  # node: its joints
    flags: list[Flag] = field(default_factory=list)
    urdf: str = ""  # text of robot_description
    clock: bool = False  # something publishes /clock
    notes: list[str] = field(default_factory=list)  # what could not be asked, and why
