"""The recorder's logic: which message goes into which bag, and when bags open and close.

A segment is a run on one branch in one epoch. Its first tick opens a bag, and the first tick of
another segment retires it. A tick lists the streams that its observation is made of, each with the
stamp of its message. Those messages, and others with the tick's own stamp, go into the tick's bag,
even if they arrive before it or shortly after the next segment has started. No message is dropped
while the disk accepts writes. Free of ROS: the node passes in serialized messages and a steady
clock.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from hiwm_core.bags.cdr import TickKey, epoch_and_step, stamp_ns, tick_key
from hiwm_core.bags.disk import disk_refusal, free_disk_bytes
from hiwm_core.bags.lineage import Lineage
from hiwm_core.bags.schema import recording_types
from hiwm_core.bags.topics import observation_stream
from hiwm_core.bags.writer import BagFile, Topic, open_bag
from hiwm_core.control_period import UNKNOWN, measured_period
from hiwm_core.frames import stream_stamps

BAGS_FOLDER = "bags"
# Seconds a message waits for the tick with its stamp. Messages of a step arrive within
# milliseconds. A message whose tick never comes (an operator's at the end, ground truth between
# ticks) goes into the current bag.
HOLD_S = 2.0
# Seconds a bag stays open after the end of its segment, for messages in flight.
LINGER_S = 0.5
# Seconds the first bag waits for the latched world_info that belongs at its head.
WORLD_INFO_WAIT_S = 5.0
# Number of stamps whose segment is remembered: minutes at any rate of a world.
_REMEMBERED = 4096


class Role(Enum):
    """The role of a topic in the recorder."""

    TICK = "tick"
    WORLD_INFO = "world_info"  # kept and written at the head of every bag
    STAMPED = "stamped"  # belongs to the tick that lists it or has its stamp; without one, to the
    # current bag
    ANSWER = "answer"  # the same, with an epoch after its header as a fallback
    TREE = "tree"  # goes into the current bag, and states where branches fork


@dataclass(frozen=True, kw_only=True)
class RecordedTopic:
    """A topic with its role."""

    topic: Topic
    role: Role


@dataclass(frozen=True, kw_only=True)
class ClosedBag:
    """A bag that the recorder has finished writing."""

    path: Path
    lineage: Lineage
    whole: bool  # False: the disk refused; the file has no index and needs recovery


class _Place(NamedTuple):
    """What a message belongs to: a tick that lists this stream and stamp, or one of this stamp."""

    stream: str  # empty: not part of an observation
    stamp: int  # ns


@dataclass(frozen=True, slots=True)
class _Item:
    topic: RecordedTopic
    raw: bytes
    time_ns: int  # system time of receipt, the bag's log time
    received: float  # steady clock


@dataclass
class _Segment:
    key: TickKey
    bag: BagFile
    lineage: Lineage
    retired: float | None = None  # steady time at which the next segment started
    stamps: list[int] = field(default_factory=list)  # of its ticks, ns
    steps: list[int] = field(default_factory=list)  # of its ticks


class RecordingSession:
    """Sorts serialized messages into segment bags under `<session_dir>/bags`.

    Args:
        session_dir: the session's folder.
        lineage: the fields shared by all bags: seed, session id.
        min_free_bytes: below this much free disk space, bags are closed and messages refused.
        create: opens a bag folder; injected by tests of disk faults.
        free_bytes: returns the free disk space; injected by the same tests.

    Attributes:
        refusal: why recording has stopped; empty while recording.
        written: messages written since start.
        refused: messages not written while the disk was full.
        unmatched: messages whose tick never came, written to the current bag.
        outside: messages outside any segment, dropped.
    """

    def __init__(
        self, session_dir: Path, lineage: Lineage, *, min_free_bytes: int = 0,
        create: Callable[[Path, Mapping[str, str]], BagFile] = open_bag,
        free_bytes: Callable[[Path], int] | None = None,
    ) -> None:
        self.refusal = ""
        self.written = 0
        self.refused = 0
        self.unmatched = 0
        self.outside = 0
        self._bags = session_dir / BAGS_FOLDER
        self._lineage = lineage
        self._min_free = min_free_bytes
        self._create = create
        self._free_bytes = free_bytes or free_disk_bytes
        self._types = recording_types()
        self._world_info: _Item | None = None
        self._first_tick_at: float | None = None
        self._waiting: list[_Item] = []  # all messages until world_info arrives or times out
        self._pending: OrderedDict[_Place, list[_Item]] = OrderedDict()  # tick not received
        self._newest: dict[str, tuple[int, _Item]] = {}  # by topic of a stream
        self._loose: list[_Item] = []  # for the next bag
        self._segments: OrderedDict[TickKey, _Segment] = OrderedDict()  # open ones, oldest first
        self._current: _Segment | None = None
        self._key_of: OrderedDict[_Place, TickKey] = OrderedDict()
        self._parents: dict[str, tuple[str, int]] = {}
        self._closed: list[ClosedBag] = []
        self._parts: dict[TickKey, int] = {}
        # The next bag starts within a segment: its first ticks may lack messages.
        self._joins_late = True
        self._bags.mkdir(parents=True, exist_ok=True)

    @property
    def current_bag(self) -> str:
        """Name of the bag being written; empty if there is none."""
        return self._current.bag.path.name if self._current else ""

    def take_closed(self) -> list[ClosedBag]:
        """Return the bags closed since the last call."""
        closed, self._closed = self._closed, []
        return closed

    def receive(self, topic: RecordedTopic, raw: bytes, time_ns: int, now: float) -> None:
        """Take one serialized message.

        Args:
            topic: its topic.
            raw: CDR, as received.
            time_ns: system time of receipt, nanoseconds; the bag's log time.
            now: steady clock, seconds.
        """
        item = _Item(topic, raw, time_ns, now)
        role = topic.role
        if role is Role.WORLD_INFO:
            self._take_world_info(item)
        elif self._world_info is None and not self._waited_enough(now):
            if role is Role.TICK and self._first_tick_at is None:
                self._first_tick_at = now
            self._waiting.append(item)
        else:
            if self._waiting:
                self._release_waiting()
            self._sort(item)

    def poll(self, now: float) -> None:
        """Flush and retire bags, and check the disk. Call about once a second."""
        if self._waiting and (self._waited_enough(now) or self._no_world(now)):
            self._release_waiting()
        if self.refusal:
            self._try_again()
            return
        self._expire(now, HOLD_S)
        for segment in list(self._segments.values()):
            if segment.retired is not None and now - segment.retired >= LINGER_S:
                self._close(segment)
        self._guard(self._flush)
        if self._segments:
            self._check_space()

    def close_all(self) -> None:
        """Write the held messages and close every bag, on shutdown or on request."""
        if self._waiting:
            self._release_waiting()
        if not self.refusal:
            self._expire(0.0, 0.0)
        for segment in list(self._segments.values()):
            self._close(segment)

    # -- sorting ---------------------------------------------------------------------------------

    def _waited_enough(self, now: float) -> bool:
        first = self._first_tick_at
        return first is not None and now - first >= WORLD_INFO_WAIT_S

    def _no_world(self, now: float) -> bool:
        """Return whether no world has appeared in time: messages need not be kept for one."""
        late = now - self._waiting[0].received >= WORLD_INFO_WAIT_S
        return self._first_tick_at is None and late

    def _take_world_info(self, item: _Item) -> None:
        self._world_info = item
        self._release_waiting()
        # A further world_info within a segment (a changed rate) is recorded too.
        if self._current is not None:
            self._write(self._current, item)

    def _release_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for item in waiting:
            self._sort(item)

    def _sort(self, item: _Item) -> None:
        role = item.topic.role
        if role is Role.TICK:
            self._take_tick(item)
            return
        if role is Role.TREE:
            self._note_forks(item)
            self._to_current(item)
            return
        name = item.topic.topic.name
        place = _Place(observation_stream(name), stamp_ns(item.raw))
        if place.stream:
            self._newest[name] = (place.stamp, item)
        key = self._key_of.get(place)
        segment = self._segments.get(key) if key else None
        if segment is not None:
            self._write(segment, item)
        elif self.refusal:
            self.refused += 1
        else:
            self._pending.setdefault(place, []).append(item)

    def _take_tick(self, item: _Item) -> None:
        key, stamp = tick_key(item.raw), stamp_ns(item.raw)
        tick: Any = self._types.deserialize_cdr(item.raw, item.topic.topic.message_type)
        places = [_Place("", stamp), *(_Place(*one) for one in stream_stamps(tick).items())]
        shared = [place for place in places if self._key_of.get(place, key) != key]
        for place in places:
            self._key_of.pop(place, None)
            self._key_of[place] = key
        while len(self._key_of) > _REMEMBERED * len(places):
            self._key_of.popitem(last=False)
        segment = self._segments.get(key)
        opens = segment is None and not self.refusal
        if opens:
            segment = self._open(key, item)
        held = [part for place in places for part in self._pending.pop(place, [])]
        held += self._parts_of_another_segment(shared)
        if segment is None:
            self.refused += 1 + len(held)
            return
        for part in held:
            self._write(segment, part)
        self._write(segment, item)
        segment.stamps.append(stamp)
        segment.steps.append(epoch_and_step(item.raw)[1])
        if opens and segment.key in self._segments:
            # From here on, a kill leaves no bag without a tick.
            self._guard(segment.bag.flush)

    def _parts_of_another_segment(self, places: list[_Place]) -> list[_Item]:
        """Return messages of slow streams that the last segment's ticks list as well."""
        return [
            item for name, (stamp, item) in self._newest.items()
            if _Place(observation_stream(name), stamp) in places
        ]

    def _to_current(self, item: _Item) -> None:
        if self._current is not None:
            self._write(self._current, item)
        elif self.refusal:
            self.refused += 1
        else:
            self._loose.append(item)

    def _expire(self, now: float, hold_s: float) -> None:
        """Write messages whose tick did not arrive within `hold_s` to the current bag."""
        expired: list[_Item] = []
        for place in list(self._pending):
            if not hold_s or now - self._pending[place][0].received >= hold_s:
                expired += self._pending.pop(place)
        for item in expired:
            segment = self._segment_by_epoch(item) or self._current
            if segment is None:
                self.outside += 1
            else:
                self.unmatched += 1
                self._write(segment, item)

    def _segment_by_epoch(self, item: _Item) -> _Segment | None:
        if item.topic.role is not Role.ANSWER:
            return None
        epoch, _ = epoch_and_step(item.raw)
        for segment in self._segments.values():
            if segment.key.epoch == epoch:
                return segment
        return None

    # -- bags ------------------------------------------------------------------------------------

    def _open(self, key: TickKey, tick: _Item) -> _Segment | None:
        """Open the bag of a segment, with world_info and the waiting messages at its head."""
        if self._current is not None:
            self._current.retired = tick.received
        self._parts[key] = self._parts.get(key, 0) + 1
        lineage = self._segment_lineage(key)
        path = self._bags
        try:
            path = self._free_path(key)
            bag = self._create(path, lineage.custom_data())
        except OSError as error:
            self._refuse(disk_refusal(error, path), whole=False)
            return None
        segment = _Segment(key, bag, lineage)
        self._segments[key] = self._current = segment
        self._joins_late = False
        loose, self._loose = self._loose, []
        if self._world_info is not None:
            loose.insert(0, self._world_info)
        for item in loose:
            # Not the time of its publication: a replay would start with a pause of minutes.
            self._write(segment, replace(item, time_ns=tick.time_ns))
        return self._segments.get(key)

    def _segment_lineage(self, key: TickKey) -> Lineage:
        lineage = replace(
            self._lineage, episode_id=key.episode_id, branch_id=key.branch_id, epoch=key.epoch,
            part=self._parts[key], joined_late=self._joins_late or self._parts[key] > 1,
        )
        if self._world_info is None:
            return lineage
        info: Any = self._types.deserialize_cdr(
            self._world_info.raw, self._world_info.topic.topic.message_type
        )
        return replace(
            lineage, session_id=info.session_id or lineage.session_id, world=info.kind,
            robot=info.robot, stand_in=bool(info.stand_in), embodiment=info.embodiment,
            embodiment_hash=info.embodiment_hash, embodiment_yaml=info.embodiment_yaml,
            task=info.task, task_hash=info.task_hash, task_yaml=info.task_yaml,
            world_checkpoint_hash=info.checkpoint_hash, software_version=info.software_version,
            period_s=float(info.control_period_s) or UNKNOWN,
        )

    def _free_path(self, key: TickKey) -> Path:
        branch = re.sub(r"[^A-Za-z0-9._-]", "_", key.branch_id) or "branch"
        stem = f"{branch}_e{key.epoch:04d}"
        path, number = self._bags / stem, 1
        while path.exists():
            number += 1
            path = self._bags / f"{stem}_p{number}"
        return path

    def _write(self, segment: _Segment, item: _Item) -> None:
        if segment.key not in self._segments:
            self.refused += 1
            return
        try:
            segment.bag.write(item.topic.topic, item.time_ns, item.raw)
            self.written += 1
        except OSError as error:
            self._refuse(disk_refusal(error, segment.bag.path), whole=False)

    def _flush(self) -> None:
        for segment in self._segments.values():
            segment.bag.flush()

    def _guard(self, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError as error:
            self._refuse(disk_refusal(error, self._bags), whole=False)

    def _close(self, segment: _Segment) -> None:
        """Close one bag; if the disk refuses, leave it for recovery."""
        self._segments.pop(segment.key, None)
        if self._current is segment:
            self._current = None
        lineage = segment.lineage
        if parent := self._parents.get(segment.key.branch_id):
            lineage = replace(lineage, parent_branch_id=parent[0], fork_step=parent[1])
        if lineage.world == "hardware":
            lineage = lineage.with_measured(
                measured_period(lineage.period_s, segment.stamps, segment.steps)
            )
        try:
            segment.bag.close(lineage.custom_data())
            self._closed.append(ClosedBag(path=segment.bag.path, lineage=lineage, whole=True))
        except OSError as error:
            segment.bag.abort()
            self._closed.append(ClosedBag(path=segment.bag.path, lineage=lineage, whole=False))
            self._refuse(disk_refusal(error, segment.bag.path), whole=False)

    # -- full disk -------------------------------------------------------------------------------

    def _check_space(self) -> None:
        """Stop recording below the minimum, or if the disk does not tell its free space."""
        reason = f"less than {self._min_free >> 20} MB free on the disk of {self._bags}"
        try:
            enough = self._free_bytes(self._bags) >= self._min_free
        except OSError as error:  # unplugged, or a network disk that is gone
            reason, enough = disk_refusal(error, self._bags), False
        if not enough:
            self._refuse(reason, whole=True)

    def _refuse(self, reason: str, *, whole: bool) -> None:
        """Stop recording. Bags are closed if the disk still allows it."""
        if self.refusal:
            return
        self.refusal = f"{reason}; recording has stopped; free some space, and it resumes by itself"
        for segment in list(self._segments.values()):
            if whole:
                self._close(segment)
                continue
            del self._segments[segment.key]
            segment.bag.abort()
            self._closed.append(
                ClosedBag(path=segment.bag.path, lineage=segment.lineage, whole=False)
            )
        self._current = None
        self.refused += sum(len(items) for items in self._pending.values()) + len(self._loose)
        self._pending.clear()
        self._loose.clear()

    def _try_again(self) -> None:
        """Resume once there is clearly more space than the minimum."""
        floor = max(2 * self._min_free, 1 << 20)
        try:
            free = self._free_bytes(self._bags)
        except OSError:  # still the disk's fault; the reason stands
            return
        if free >= floor:
            self.refusal = ""
            self._joins_late = True

    def _note_forks(self, item: _Item) -> None:
        """Learn each branch's parent and fork step from the tree's nodes."""
        tree: Any = self._types.deserialize_cdr(item.raw, item.topic.topic.message_type)
        for node in tree.nodes:
            parent_branch, _, step = node.parent_id.rpartition(":")
            if parent_branch and parent_branch != node.branch_id and step.isdigit():
                self._parents.setdefault(node.branch_id, (parent_branch, int(step)))
