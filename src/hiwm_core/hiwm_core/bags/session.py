"""The recorder's logic: which message goes into which bag.

A segment is a run on one branch in one epoch. Its first tick opens a bag, and the first tick of
another segment retires it. A tick lists the streams that its observation is made of, each with the
stamp of its message. Those messages, and others with the tick's own stamp, go into the tick's bag,
even if they arrive before it or shortly after the next segment has started. No message is dropped
while the disk accepts writes. Free of ROS: the node passes in serialized messages and a steady
clock. `hiwm_core.bags.segment_bags` opens and closes the bags.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from hiwm_core.bags.cdr import TickKey, epoch_and_step, stamp_ns, tick_key
from hiwm_core.bags.lineage import Lineage
from hiwm_core.bags.schema import recording_types
from hiwm_core.bags.segment_bags import ClosedBag, OpenSegment, SegmentBags
from hiwm_core.bags.topics import observation_stream
from hiwm_core.bags.writer import BagFile, Topic
from hiwm_core.frames import stream_stamps

BAGS_FOLDER = "bags"
# Seconds a message waits for the tick with its stamp. Messages of a step arrive within
# milliseconds. A message whose tick never comes (an operator's at the end, ground truth between
# ticks) goes into the current bag.
HOLD_S = 2.0
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


class RecordingSession:
    """Sorts serialized messages into segment bags under `<session_dir>/bags`.

    Args:
        session_dir: the session's folder.
        lineage: the fields shared by all bags: seed, session id.
        min_free_bytes: below this much free disk space, bags are closed and messages refused.
        create: opens a bag folder; injected by tests of disk faults.
        free_bytes: returns the free disk space; injected by the same tests.
        leaves_closing: closed bags carry `close`, which another thread calls: it waits for the
            disk, which would delay messages.

    Attributes:
        unmatched: messages whose tick never came, written to the current bag.
        outside: messages outside any segment, dropped.
    """

    def __init__(
        self, session_dir: Path, lineage: Lineage, *, min_free_bytes: int = 0,
        create: Callable[[Path, Mapping[str, str]], BagFile] | None = None,
        free_bytes: Callable[[Path], int] | None = None, leaves_closing: bool = False,
    ) -> None:
        self.unmatched = 0
        self.outside = 0
        self._bags = SegmentBags(
            session_dir / BAGS_FOLDER, lineage, min_free_bytes=min_free_bytes, create=create,
            free_bytes=free_bytes, leaves_closing=leaves_closing, on_refusal=self._drop_held,
        )
        self._types = recording_types()
        self._world_info: _Item | None = None
        self._first_tick_at: float | None = None
        self._waiting: list[_Item] = []  # all messages until world_info arrives or times out
        self._pending: OrderedDict[_Place, list[_Item]] = OrderedDict()  # tick not received
        self._newest: dict[str, tuple[int, _Item]] = {}  # by topic of a stream
        self._observation: Mapping[str, int] = {}  # of the newest tick: stamp of each stream, ns
        self._loose: list[_Item] = []  # for the next bag
        self._key_of: OrderedDict[_Place, TickKey] = OrderedDict()
        self._late = 0  # messages of a refusing disk, that had no bag

    @property
    def refusal(self) -> str:
        """Why recording has stopped; empty while recording."""
        return self._bags.refusal

    @property
    def written(self) -> int:
        """Messages written since start."""
        return self._bags.written

    @property
    def refused(self) -> int:
        """Messages not written while the disk was full."""
        return self._bags.refused + self._late

    @property
    def current_bag(self) -> str:
        """Name of the bag being written; empty if there is none."""
        current = self._bags.current
        return current.bag.path.name if current else ""

    @property
    def awaits_observation(self) -> bool:
        """Whether a message of the newest tick's observation has not arrived yet."""
        newest = {observation_stream(name): stamp for name, (stamp, _) in self._newest.items()}
        return any(newest.get(stream, -1) < stamp for stream, stamp in self._observation.items())

    def take_closed(self) -> list[ClosedBag]:
        """Return the bags closed since the last call."""
        return self._bags.take_closed()

    def refuse(self, reason: str) -> None:
        """Stop recording: a bag could not be closed elsewhere."""
        self._bags.refuse(reason)

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
            self._bags.try_again()
            return
        self._expire(now, HOLD_S)
        self._bags.close_retired(now)
        self._bags.flush()
        if any(self._bags):
            self._bags.check_space()

    def close_all(self) -> None:
        """Write the held messages and close every bag, on shutdown or on request."""
        if self._waiting:
            self._release_waiting()
        if not self.refusal:
            self._expire(0.0, 0.0)
        for segment in self._bags:
            self._bags.close(segment)

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
        self._bags.world_info = self._types.deserialize_cdr(
            item.raw, item.topic.topic.message_type
        )
        self._release_waiting()
        # A further world_info within a segment (a changed rate) is recorded too.
        if self._bags.current is not None:
            self._write(self._bags.current, item)

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
        segment = self._bags.get(key)
        if segment is not None:
            self._write(segment, item)
        elif self.refusal:
            self._late += 1
        else:
            self._pending.setdefault(place, []).append(item)

    def _take_tick(self, item: _Item) -> None:
        key, stamp = tick_key(item.raw), stamp_ns(item.raw)
        tick: Any = self._types.deserialize_cdr(item.raw, item.topic.topic.message_type)
        self._observation = stream_stamps(tick)
        places = [_Place("", stamp), *(_Place(*one) for one in self._observation.items())]
        shared = [place for place in places if self._key_of.get(place, key) != key]
        for place in places:
            self._key_of.pop(place, None)
            self._key_of[place] = key
        while len(self._key_of) > _REMEMBERED * len(places):
            self._key_of.popitem(last=False)
        segment = self._bags.get(key)
        opens = segment is None and not self.refusal
        if opens:
            # Bags of earlier versions, which may be recovered or converted, do not say it.
            segment = self._open(key, item, str(getattr(tick, "started_from", "")))
        held = [part for place in places for part in self._pending.pop(place, [])]
        held += self._parts_of_another_segment(shared)
        if segment is None:
            self._late += 1 + len(held)
            return
        for part in held:
            self._write(segment, part)
        self._write(segment, item)
        segment.stamps.append(stamp)
        segment.steps.append(epoch_and_step(item.raw)[1])
        if opens:
            # From here on, a kill leaves no bag without a tick.
            self._bags.flush()

    def _parts_of_another_segment(self, places: list[_Place]) -> list[_Item]:
        """Return messages of slow streams that the last segment's ticks list as well."""
        return [
            item for name, (stamp, item) in self._newest.items()
            if _Place(observation_stream(name), stamp) in places
        ]

    def _to_current(self, item: _Item) -> None:
        if self._bags.current is not None:
            self._write(self._bags.current, item)
        elif self.refusal:
            self._late += 1
        else:
            self._loose.append(item)

    def _expire(self, now: float, hold_s: float) -> None:
        """Write messages whose tick did not arrive within `hold_s` to the current bag."""
        expired: list[_Item] = []
        for place in list(self._pending):
            if not hold_s or now - self._pending[place][0].received >= hold_s:
                expired += self._pending.pop(place)
        for item in expired:
            segment = self._segment_by_epoch(item) or self._bags.current
            if segment is None:
                self.outside += 1
            else:
                self.unmatched += 1
                self._write(segment, item)

    def _segment_by_epoch(self, item: _Item) -> OpenSegment | None:
        if item.topic.role is not Role.ANSWER:
            return None
        epoch, _ = epoch_and_step(item.raw)
        for segment in self._bags:
            if segment.key.epoch == epoch:
                return segment
        return None

    # -- bags ------------------------------------------------------------------------------------

    def _open(self, key: TickKey, tick: _Item, started_from: str) -> OpenSegment | None:
        """Open the bag of a segment, with world_info and the waiting messages at its head."""
        segment = self._bags.open(key, tick.received, started_from)
        if segment is None:
            return None
        loose, self._loose = self._loose, []
        if self._world_info is not None:
            loose.insert(0, self._world_info)
        for item in loose:
            # Not the time of its publication: a replay would start with a pause of minutes.
            self._write(segment, replace(item, time_ns=tick.time_ns))
        return self._bags.get(key)

    def _write(self, segment: OpenSegment, item: _Item) -> None:
        self._bags.write(segment, item.topic.topic, item.time_ns, item.raw)

    def _drop_held(self) -> None:
        """Count what waits for a bag as refused."""
        self._late += sum(len(items) for items in self._pending.values()) + len(self._loose)
        self._pending.clear()
        self._loose.clear()

    def _note_forks(self, item: _Item) -> None:
        """Learn each branch's parent and fork step from the tree's nodes."""
        tree: Any = self._types.deserialize_cdr(item.raw, item.topic.topic.message_type)
        for node in tree.nodes:
            parent_branch, _, step = node.parent_id.rpartition(":")
            if parent_branch and parent_branch != node.branch_id and step.isdigit():
                self._bags.parents.setdefault(node.branch_id, (parent_branch, int(step)))
