"""Checks that a bag is complete: every tick with its frames, no gaps, one epoch.

The recorder audits each bag that it closes, from the file rather than from memory. People and data
scripts can repeat the audit at any time.
"""

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from hiwm_core.atomic_files import replace_file
from hiwm_core.bags.cdr import TickKey, epoch_and_step, stamp_ns, tick_key
from hiwm_core.bags.contents import BagContents, errors_of
from hiwm_core.bags.lineage import Lineage
from hiwm_core.bags.mcap_file import Message, decoded
from hiwm_core.bags.metadata import METADATA_FILE, write_custom_data
from hiwm_core.bags.topics import Stream, camera_name, observation_stream, stream
from hiwm_core.embodiment import parse_embodiment
from hiwm_core.errors import BagError, HiwmError
from hiwm_core.frames import JOINT_STATES, camera_stream, pose_stream, stream_stamps

AUDIT_FILE = "audit.json"
AUDIT_KEY = "hiwm.audit"  # in custom_data of metadata.yaml
SOURCES = 5  # Command.SOURCE_* values
# Problems listed per kind. Listing ten thousand of one kind adds nothing over five.
_LISTED = 5


@dataclass(kw_only=True)
class Audit:
    """The result of auditing one bag."""

    bag: str
    episode_id: str
    branch_id: str
    epoch: int
    ok: bool
    closed: bool  # the file has index and footer, and metadata.yaml exists
    recovered: bool
    ticks: int
    frames: int  # images over all cameras
    joint_states: int
    commands: int
    frames_by_source: list[int]  # index = Command.SOURCE_*: ticks by the source that led to them
    first_step: int  # -1 without ticks
    last_step: int
    incomplete_at_start: int  # ticks before the recorder had found every topic
    incomplete_at_end: int  # of a recovered bag: ticks whose other messages were not yet written
    messages: int
    # Answers to ticks after the last. Their world was killed before the recorder had them.
    commands_past_end: int = 0
    foreign_ticks: int = 0  # of a world other than the sender of the first tick
    answered_twice: int = 0  # ticks that more than one arbiter answered
    clock_set_back: int = 0  # times the ticks' clock ran back; not a fault, as steps give the order
    checksums: bool = True  # False: an older or another writer; damage may go unnoticed
    lost: str = ""  # of a recovered bag: what could not be recovered
    problems: list[str] = field(default_factory=list)

    def save(self, bag: Path) -> None:
        """Save the result in the bag's folder and, if readable, in its metadata.yaml."""
        text = json.dumps(dataclasses.asdict(self), indent=1)
        replace_file(bag / AUDIT_FILE, text + "\n")
        if not (bag / METADATA_FILE).exists():
            return
        with suppress(BagError):  # already among the problems
            write_custom_data(bag, {AUDIT_KEY: json.dumps(dataclasses.asdict(self))})


def audit_bag(bag: Path) -> Audit:
    """Return the audit of a bag folder, closed or not. Reads it once, one chunk at a time.

    Raises:
        BagError: no readable file.
    """
    with errors_of(bag):
        contents = BagContents(bag)
        read = _Read()
        for message in contents.messages():
            read.take(message)
        return _audit(contents, read)


class _Tick(NamedTuple):
    """The fields of a tick that an audit needs."""

    epoch: int
    step: int
    stamp: int
    key: TickKey
    source: int  # Command.SOURCE_* of the action that led to it
    sender: str  # the world
    parts: tuple[tuple[str, int], ...]  # stamps of its streams

    def has(self, stream: str, stamps: set[int]) -> bool:
        """Return whether one of these stamps is that of a stream of this tick."""
        return dict(self.parts).get(stream) in stamps

    def lacks(self, poses: Mapping[str, set[int]]) -> list[str]:
        """Return the pose streams of this tick whose message is not among the recorded stamps."""
        return [
            stream for stream, stamp in self.parts
            if stream.startswith(pose_stream("")) and stamp not in poses.get(stream, set())
        ]


class _Answer(NamedTuple):
    """The fields of a command that an audit needs."""

    epoch: int
    step: int
    stamp: int
    sender: str  # the arbiter


class _Read:
    """The data that an audit collects from a bag's messages."""

    def __init__(self) -> None:
        self.ticks: list[_Tick] = []
        self.images: dict[str, set[int]] = {}  # stamps by camera
        self.joints: set[int] = set()
        self.poses: dict[str, set[int]] = {}  # stamps by stream
        self.commands: list[_Answer] = []
        self.frames = 0

    def take(self, message: Message) -> None:
        kind = stream(message.channel)
        if kind is Stream.TICK:
            tick = decoded(message)
            self.ticks.append(_Tick(
                *epoch_and_step(message.data), stamp_ns(message.data), tick_key(message.data),
                int(tick.applied_source), _sender(tick), tuple(stream_stamps(tick).items()),
            ))
        elif kind is Stream.IMAGE:
            self.frames += 1
            self.images.setdefault(camera_name(message.channel), set()).add(stamp_ns(message.data))
        elif kind is Stream.JOINT_STATES:
            self.joints.add(stamp_ns(message.data))
        elif kind is Stream.POSE:
            name = observation_stream(message.channel.topic)
            self.poses.setdefault(name, set()).add(stamp_ns(message.data))
        elif kind is Stream.COMMAND:
            self.commands.append(_Answer(
                *epoch_and_step(message.data), stamp_ns(message.data), _sender(decoded(message))
            ))


def _sender(message: Any) -> str:
    """Return the sender of a tick or command; empty in bags that predate the field."""
    return str(getattr(message, "sender", ""))


def _audit(contents: BagContents, read: _Read) -> Audit:
    lineage = contents.lineage()
    # Sorted by epoch and step: clocks can be set back, steps cannot. The dict drops duplicates.
    ticks = sorted(dict.fromkeys(read.ticks), key=lambda tick: (tick.epoch, tick.step))
    images = {name: read.images.get(name, set()) for name in _camera_names(lineage)} | read.images
    complete = [
        tick.has(JOINT_STATES, read.joints) and not tick.lacks(read.poses)
        and all(tick.has(camera_stream(name), seen) for name, seen in images.items())
        for tick in ticks
    ]
    skipped = cut = 0
    if lineage.joined_late and True in complete:
        skipped = complete.index(True)
    if lineage.recovered and True in complete:
        cut = complete[::-1].index(True)
    whole = ticks[skipped : len(ticks) - cut]
    problems = _Problems()
    for problem in contents.problems():
        problems.add(problem, "")
    if not ticks:
        problems.add("no tick", "")
    if not images:
        problems.add("no camera", "")
    for name, seen in images.items():
        for tick in whole:
            if not tick.has(camera_stream(name), seen):
                problems.add(f"ticks without an image of camera {name}", f"step {tick.step}")
    for tick in whole:
        if not tick.has(JOINT_STATES, read.joints):
            problems.add("ticks without a joint state", f"step {tick.step}")
        for name in tick.lacks(read.poses):
            problems.add(f"ticks without {name}", f"step {tick.step}")
    set_back = _check_order(ticks, problems)
    past_end = _check_commands(read.commands, ticks, lineage, problems)
    foreign = _foreign_ticks(read.ticks, problems)
    answered_twice = _answered_twice(read.commands, problems)
    return Audit(
        bag=contents.path.name, episode_id=lineage.episode_id, branch_id=lineage.branch_id,
        epoch=lineage.epoch, ok=not problems.lines(), closed=contents.closed,
        recovered=lineage.recovered, ticks=len(ticks), frames=read.frames,
        joint_states=len(read.joints), commands=len(read.commands),
        frames_by_source=[
            sum(tick.source == source for tick in ticks) for source in range(SOURCES)
        ],
        first_step=ticks[0].step if ticks else -1, last_step=ticks[-1].step if ticks else -1,
        incomplete_at_start=skipped, incomplete_at_end=cut,
        messages=contents.file.counts.total(), commands_past_end=past_end,
        foreign_ticks=foreign, answered_twice=answered_twice,
        clock_set_back=set_back, checksums=contents.file.checksums, lost=lineage.lost,
        problems=problems.lines(),
    )


class _Problems:
    """Problems by kind, with a few instances of each."""

    def __init__(self) -> None:
        self._kinds: dict[str, list[str]] = {}

    def add(self, kind: str, instance: str) -> None:
        self._kinds.setdefault(kind, []).append(instance)

    def lines(self) -> list[str]:
        lines = []
        for kind, instances in self._kinds.items():
            named = ", ".join(i for i in instances[:_LISTED] if i)
            more = f" and {len(instances) - _LISTED} more" if len(instances) > _LISTED else ""
            lines.append(f"{kind}: {named}{more}" if named else kind)
        return lines


def _camera_names(lineage: Lineage) -> list[str]:
    if not lineage.embodiment_yaml:
        return []
    try:
        embodiment = parse_embodiment(lineage.embodiment_yaml, "bag")
    except HiwmError:
        return []
    return [camera.name for camera in embodiment.cameras]


def _check_order(ticks: list[_Tick], problems: _Problems) -> int:
    """Report gaps and shared stamps; return how often the clock ran back between ticks."""
    keys = {tick.key for tick in ticks}
    if len(keys) > 1:
        problems.add("more than one segment", "; ".join(map(str, sorted(keys))))
    set_back = 0
    step_of: dict[int, int] = {}
    for before, tick in zip([None, *ticks], ticks, strict=False):
        # Commands and ground truth belong to the tick with their stamp.
        if step_of.setdefault(tick.stamp, tick.step) != tick.step:
            problems.add("ticks that share a stamp", f"steps {step_of[tick.stamp]} and {tick.step}")
        if before is None:
            continue
        set_back += tick.stamp < before.stamp
        # A world may repeat a step, with a new stamp, for late subscribers.
        if tick.step not in (before.step, before.step + 1):
            problems.add("gaps", f"step {before.step} to {tick.step}")
    return set_back


def _check_commands(
    commands: list[_Answer], ticks: list[_Tick], lineage: Lineage, problems: _Problems
) -> int:
    """Report commands that answer no tick; return how many answer the ticks after the last.

    A killed world cannot send again what the recorder had not received: other nodes may have
    answered more of its last ticks. Their commands follow the last tick without a gap.
    """
    known: dict[tuple[int, int], set[int]] = {}
    for tick in ticks:
        known.setdefault((tick.epoch, tick.step), set()).add(tick.stamp)
    epochs = {epoch for epoch, _ in known}
    first = min((step for _, step in known), default=0)
    next_step = max((step for _, step in known), default=-1) + 1
    answered = {step for epoch, step, _, _ in commands if epoch in epochs}
    end = next(step for step in itertools.count(next_step) if step not in answered)
    past_end = 0
    for epoch, step, stamp, _ in commands:
        if epochs and epoch not in epochs:
            problems.add("commands of another epoch", f"epoch {epoch} step {step}")
        elif known and next_step <= step < end:
            past_end += 1
        elif (epoch, step) not in known:
            # A command may answer a tick from before the recorder started.
            if not (lineage.joined_late and step < first):
                problems.add("commands without their tick", f"step {step}")
        elif stamp not in known[epoch, step]:
            problems.add("commands with another stamp than their tick", f"step {step}")
    return past_end


def _foreign_ticks(ticks: list[_Tick], problems: _Problems) -> int:
    """Report and count ticks of a second world in the namespace; `ticks` in order of receipt."""
    foreign = Counter(tick.sender for tick in ticks if tick.sender != ticks[0].sender)
    for sender, count in foreign.items():
        problems.add("ticks of another world", f"{count} of {sender}")
    return foreign.total()


def _answered_twice(commands: list[_Answer], problems: _Problems) -> int:
    """Report and count ticks that a second arbiter in the namespace also answered."""
    senders: dict[tuple[int, int, int], set[str]] = {}
    for epoch, step, stamp, sender in commands:
        senders.setdefault((epoch, step, stamp), set()).add(sender)
    twice = [(step, found) for (_, step, _), found in senders.items() if len(found) > 1]
    for step, found in twice:
        names = " and ".join(sorted(found))
        problems.add("ticks answered by more than one arbiter", f"step {step} by {names}")
    return len(twice)
