"""The recorder's open bags, one for each segment: opening, closing, and a disk that refuses.

`hiwm_core.bags.session` decides which message goes into which bag. Nothing is written after the
disk has refused; recording resumes in new bags once there is space.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hiwm_core.bags.cdr import TickKey
from hiwm_core.bags.disk import disk_refusal, free_disk_bytes
from hiwm_core.bags.lineage import Lineage
from hiwm_core.bags.writer import BagFile, Topic, open_bag
from hiwm_core.control_period import UNKNOWN, measured_period

# Seconds a bag stays open after the end of its segment, for messages in flight.
LINGER_S = 0.5


@dataclass(frozen=True, kw_only=True)
class ClosedBag:
    """A bag that the recorder has finished writing."""

    path: Path
    lineage: Lineage
    whole: bool  # False: the disk refused; the file has no index and needs recovery
    # Writes the index, waits until everything is on the disk, and raises OSError if the disk
    # refuses. For another thread, if the session was told to leave it; otherwise None.
    close: Callable[[], None] | None = None


@dataclass(kw_only=True)
class OpenSegment:
    """A segment whose bag is open."""

    key: TickKey
    bag: BagFile
    lineage: Lineage
    retired: float | None = None  # steady time at which the next segment started
    stamps: list[int] = field(default_factory=list)  # of its ticks, ns
    steps: list[int] = field(default_factory=list)  # of its ticks


class SegmentBags:
    """Opens, writes and closes bags in a folder.

    Args:
        folder: of the bags; made if missing.
        lineage: the fields shared by all bags: seed, session id.
        min_free_bytes: below this much free disk space, bags are closed and writing stops.
        create: opens a bag folder.
        free_bytes: returns the free disk space.
        leaves_closing: closed bags carry `close`, to be called elsewhere.
        on_refusal: called once when the disk refuses.

    Attributes:
        refusal: why writing has stopped; empty while it works.
        written: messages written since start.
        refused: messages that the disk refused.
        current: the newest segment, if its bag is open.
        world_info: deserialized; None before the first.
        parents: of forked branches: parent branch and step.
    """

    def __init__(
        self, folder: Path, lineage: Lineage, *, min_free_bytes: int,
        create: Callable[[Path, Mapping[str, str]], BagFile] | None,
        free_bytes: Callable[[Path], int] | None, leaves_closing: bool,
        on_refusal: Callable[[], None],
    ) -> None:
        self.refusal = ""
        self.written = 0
        self.refused = 0
        self.current: OpenSegment | None = None
        self.world_info: Any = None
        self.parents: dict[str, tuple[str, int]] = {}
        self._folder = folder
        self._lineage = lineage
        self._min_free = min_free_bytes
        self._create = create or open_bag
        self._free_bytes = free_bytes or free_disk_bytes
        self._leaves_closing = leaves_closing
        self._on_refusal = on_refusal
        self._segments: OrderedDict[TickKey, OpenSegment] = OrderedDict()  # oldest first
        self._closed: list[ClosedBag] = []
        self._parts: dict[TickKey, int] = {}
        # The next bag starts within a segment: its first ticks may lack messages.
        self._joins_late = True
        folder.mkdir(parents=True, exist_ok=True)

    def __iter__(self) -> Iterator[OpenSegment]:
        """Return the open segments, oldest first."""
        return iter(list(self._segments.values()))

    def get(self, key: TickKey | None) -> OpenSegment | None:
        """Return an open segment."""
        return self._segments.get(key) if key else None

    def take_closed(self) -> list[ClosedBag]:
        """Return the bags closed since the last call."""
        closed, self._closed = self._closed, []
        return closed

    # -- writing ---------------------------------------------------------------------------------

    def open(self, key: TickKey, now: float, started_from: str = "") -> OpenSegment | None:
        """Open the bag of a segment, which becomes the current one; None if the disk refuses.

        Args:
            key: of the segment.
            now: steady clock, s.
            started_from: of its ticks.
        """
        if self.current is not None:
            self.current.retired = now
        self._parts[key] = self._parts.get(key, 0) + 1
        lineage = self._segment_lineage(key, started_from)
        path = self._folder
        try:
            path = self._free_path(key)
            bag = self._create(path, lineage.custom_data())
        except OSError as error:
            self.refuse(disk_refusal(error, path))
            return None
        segment = OpenSegment(key=key, bag=bag, lineage=lineage)
        self._segments[key] = self.current = segment
        self._joins_late = False
        return segment

    def write(self, segment: OpenSegment, topic: Topic, time_ns: int, raw: bytes) -> None:
        """Write a serialized message, or count it as refused."""
        if segment.key not in self._segments:
            self.refused += 1
            return
        try:
            segment.bag.write(topic, time_ns, raw)
            self.written += 1
        except OSError as error:
            self.refuse(disk_refusal(error, segment.bag.path))

    def flush(self) -> None:
        """Pass everything written to the operating system."""
        try:
            for segment in self._segments.values():
                segment.bag.flush()
        except OSError as error:
            self.refuse(disk_refusal(error, self._folder))

    def _segment_lineage(self, key: TickKey, started_from: str) -> Lineage:
        lineage = replace(
            self._lineage, episode_id=key.episode_id, branch_id=key.branch_id, epoch=key.epoch,
            part=self._parts[key], joined_late=self._joins_late or self._parts[key] > 1,
            started_from=started_from,
        )
        info = self.world_info
        if info is None:
            return lineage
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
        path, number = self._folder / stem, 1
        while path.exists():
            number += 1
            path = self._folder / f"{stem}_p{number}"
        return path

    # -- closing ---------------------------------------------------------------------------------

    def close_retired(self, now: float) -> None:
        """Close the bags whose segments ended a while ago."""
        for segment in self:
            if segment.retired is not None and now - segment.retired >= LINGER_S:
                self.close(segment)

    def close(self, segment: OpenSegment) -> None:
        """Close one bag; if the disk refuses, leave it for recovery."""
        self._segments.pop(segment.key, None)
        if self.current is segment:
            self.current = None
        lineage = segment.lineage
        if parent := self.parents.get(segment.key.branch_id):
            lineage = replace(lineage, parent_branch_id=parent[0], fork_step=parent[1])
        if lineage.world == "hardware":
            lineage = lineage.with_measured(
                measured_period(lineage.period_s, segment.stamps, segment.steps)
            )
        bag, custom_data = segment.bag, lineage.custom_data()

        def close() -> None:
            try:
                bag.close(custom_data)
            except OSError:
                bag.abort()
                raise

        if self._leaves_closing:
            self._closed.append(
                ClosedBag(path=bag.path, lineage=lineage, whole=True, close=close)
            )
            return
        try:
            close()
            self._closed.append(ClosedBag(path=bag.path, lineage=lineage, whole=True))
        except OSError as error:
            self._closed.append(ClosedBag(path=bag.path, lineage=lineage, whole=False))
            self.refuse(disk_refusal(error, bag.path))

    # -- full disk -------------------------------------------------------------------------------

    def check_space(self) -> None:
        """Stop below the minimum, or if the disk does not tell its free space."""
        reason = f"less than {self._min_free >> 20} MB free on the disk of {self._folder}"
        try:
            enough = self._free_bytes(self._folder) >= self._min_free
        except OSError as error:  # unplugged, or a network disk that is gone
            reason, enough = disk_refusal(error, self._folder), False
        if not enough:
            self.refuse(reason, whole=True)

    def refuse(self, reason: str, *, whole: bool = False) -> None:
        """Stop writing. Bags are closed if the disk still allows it (`whole`)."""
        if self.refusal:
            return
        self.refusal = f"{reason}; recording has stopped; free some space, and it resumes by itself"
        for segment in self:
            if whole:
                self.close(segment)
                continue
            del self._segments[segment.key]
            segment.bag.abort()
            self._closed.append(
                ClosedBag(path=segment.bag.path, lineage=segment.lineage, whole=False)
            )
        self.current = None
        self._on_refusal()

    def try_again(self) -> None:
        """Resume once there is clearly more space than the minimum."""
        floor = max(2 * self._min_free, 1 << 20)
        try:
            free = self._free_bytes(self._folder)
        except OSError:  # still the disk's fault; the reason stands
            return
        if free >= floor:
            self.refusal = ""
            self._joins_late = True
