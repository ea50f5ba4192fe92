"""Is a bag what it should be: every tick with its frames, no gaps, one epoch?

The recorder audits each bag it closed, from the file rather than from memory; people and data
scripts audit again whenever they like.
"""

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from hiwm_core.atomic_files import replace_file
from hiwm_core.bags.cdr import epoch_and_step, stamp_ns, tick_key
from hiwm_core.bags.lineage import RECORD_NAME, Lineage
from hiwm_core.bags.mcap_file import McapContents, Message, decoded, read_mcap
from hiwm_core.bags.writer import METADATA_FILE, write_metadata
from hiwm_core.embodiment import parse_embodiment
from hiwm_core.errors import BagError, HiwmError

AUDIT_FILE = "audit.json"
AUDIT_KEY = "hiwm.audit"  # in custom_data of metadata.yaml
SOURCES = 5  # Command.SOURCE_* values
# Problems listed by kind; a bag with ten thousand of one kind is no clearer than one with five.
_LISTED = 5
_IMAGE_TOPIC = re.compile(r"cameras/([^/]+)/image_raw$")


@dataclass(kw_only=True)
class Audit:
    """What was found in one bag."""

    bag: str
    episode_id: str
    branch_id: str
    epoch: int
    ok: bool
    closed: bool  # the file has index and footer, and metadata.yaml is there
    recovered: bool
    ticks: int
    frames: int  # images over all cameras
    joint_states: int
    commands: int
    frames_by_source: list[int]  # index = Command.SOURCE_*: ticks by the source that led to them
    first_step: int  # -1 without ticks
    last_step: int
    incomplete_at_start: int  # ticks before the recorder had joined every topic
    incomplete_at_end: int  # of a recovered bag: ticks whose parts were not yet written
    messages: int
    # Answers to one further tick, which never came: its world was killed as it published it.
    commands_past_end: int = 0
    problems: list[str] = field(default_factory=list)

    def save(self, bag: Path) -> None:
        """Keep the result in the bag's folder and in its metadata.yaml."""
        text = json.dumps(dataclasses.asdict(self), indent=1)
        replace_file(bag / AUDIT_FILE, text + "\n")
        if (bag / METADATA_FILE).exists():
            write_metadata(bag, {AUDIT_KEY: json.dumps(dataclasses.asdict(self))})


def mcap_path(bag: Path) -> Path:
    """Return the one MCAP file of a bag folder (or the path itself, if it is a file).

    Raises:
        BagError: none, or several.
    """
    if bag.is_file():
        return bag
    files = sorted(bag.glob("*.mcap"))
    if len(files) != 1:
        raise BagError(
            f"{len(files)} MCAP files", where=str(bag),
            remedy="give the folder of one recorded segment",
        )
    return files[0]


def bag_lineage(bag: Path, contents: McapContents) -> Lineage:
    """Return a bag's lineage: the completed one of metadata.yaml, else that of the file's head."""
    data = dict(contents.metadata.get(RECORD_NAME, {}))
    metadata = bag / METADATA_FILE
    if bag.is_dir() and metadata.exists():
        information = yaml.load(metadata.read_text(), Loader=yaml.CSafeLoader)
        data |= information["rosbag2_bagfile_information"].get("custom_data") or {}
    return Lineage.from_custom_data(data)


def audit_bag(bag: Path) -> Audit:
    """Return the audit of a bag folder, closed or not.

    Raises:
        BagError: there is no readable file.
    """
    contents = read_mcap(mcap_path(bag))
    return audit_contents(bag, contents, bag_lineage(bag, contents))


def audit_contents(bag: Path, contents: McapContents, lineage: Lineage) -> Audit:
    """Return the audit of a file already read."""
    messages = sorted(contents.messages, key=lambda message: message.time_ns)
    ticks = _unique_ticks([m for m in messages if m.channel.topic.endswith("/tick")])
    images: dict[str, set[int]] = {name: set() for name in _camera_names(lineage)}
    joints: set[int] = set()
    commands: list[Message] = []
    frames = 0
    for message in messages:
        topic = message.channel.topic
        if camera := _IMAGE_TOPIC.search(topic):
            frames += 1
            images.setdefault(camera.group(1), set()).add(stamp_ns(message.data))
        elif topic.endswith("/joint_states") and "/driver/" not in topic:
            joints.add(stamp_ns(message.data))
        elif topic.endswith("/command") and "/operator/" not in topic:
            commands.append(message)
    stamps = [stamp_ns(m.data) for m in ticks]
    steps = [epoch_and_step(m.data)[1] for m in ticks]
    complete = [s in joints and all(s in seen for seen in images.values()) for s in stamps]
    skipped = cut = 0
    if lineage.joined_late and True in complete:
        skipped = complete.index(True)
    if lineage.recovered and True in complete:
        cut = complete[::-1].index(True)
    whole = slice(skipped, len(ticks) - cut)
    problems = _Problems()
    if not ticks:
        problems.add("no tick", "")
    if not images:
        problems.add("no camera", "")
    for camera_name, seen in images.items():
        for stamp, step in list(zip(stamps, steps, strict=True))[whole]:
            if stamp not in seen:
                problems.add(f"ticks without an image of camera {camera_name}", f"step {step}")
    for stamp, step in list(zip(stamps, steps, strict=True))[whole]:
        if stamp not in joints:
            problems.add("ticks without a joint state", f"step {step}")
    _check_order(ticks, stamps, steps, problems)
    past_end = _check_commands(commands, ticks, lineage, problems)
    closed = contents.closed and (bag / METADATA_FILE).exists()
    if not closed:
        problems.add("bag was never closed; run hiwm_recording.recover on it", "")
    return Audit(
        bag=bag.name, episode_id=lineage.episode_id, branch_id=lineage.branch_id,
        epoch=lineage.epoch, ok=not problems.lines(), closed=closed, recovered=lineage.recovered,
        ticks=len(ticks), frames=frames, joint_states=len(joints), commands=len(commands),
        frames_by_source=_sources(ticks), first_step=steps[0] if steps else -1,
        last_step=steps[-1] if steps else -1, incomplete_at_start=skipped,
        incomplete_at_end=cut, messages=len(messages),
        commands_past_end=past_end, problems=problems.lines(),
    )


class _Problems:
    """Problems by kind, a few of each named."""

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


def _unique_ticks(ticks: list[Message]) -> list[Message]:
    """Leave out ticks published again for the same observation."""
    seen: set[tuple[int, tuple[int, int]]] = set()
    unique = []
    for tick in ticks:
        key = (stamp_ns(tick.data), epoch_and_step(tick.data))
        if key not in seen:
            seen.add(key)
            unique.append(tick)
    return unique


def _camera_names(lineage: Lineage) -> list[str]:
    if not lineage.embodiment_yaml:
        return []
    try:
        embodiment = parse_embodiment(lineage.embodiment_yaml, "bag")
    except HiwmError:
        return []
    return [camera.name for camera in embodiment.cameras]


def _check_order(
    ticks: list[Message], stamps: list[int], steps: list[int], problems: _Problems
) -> None:
    keys = {tick_key(tick.data) for tick in ticks}
    if len(keys) > 1:
        problems.add("more than one segment", "; ".join(map(str, sorted(keys))))
    for i in range(1, len(ticks)):
        if stamps[i] <= stamps[i - 1]:
            problems.add("stamps not rising", f"step {steps[i]}")
        # A world may show a step again, under a new stamp, to those who came late.
        if steps[i] not in (steps[i - 1], steps[i - 1] + 1):
            problems.add("gaps", f"step {steps[i - 1]} to {steps[i]}")


def _check_commands(
    commands: list[Message], ticks: list[Message], lineage: Lineage, problems: _Problems
) -> int:
    """Note commands that answer no tick; return how many answer the one after the last."""
    known: dict[tuple[int, int], set[int]] = {}
    for tick in ticks:
        known.setdefault(epoch_and_step(tick.data), set()).add(stamp_ns(tick.data))
    epochs = {epoch for epoch, _ in known}
    first = min((step for _, step in known), default=0)
    next_step = max((step for _, step in known), default=-1) + 1
    past_end = 0
    for command in commands:
        epoch, step = epoch_and_step(command.data)
        if epochs and epoch not in epochs:
            problems.add("commands of another epoch", f"epoch {epoch} step {step}")
        elif known and step == next_step:
            past_end += 1
        elif (epoch, step) not in known:
            # A command may answer a tick from before the recorder joined.
            if not (lineage.joined_late and step < first):
                problems.add("commands without their tick", f"step {step}")
        elif stamp_ns(command.data) not in known[epoch, step]:
            problems.add("commands with another stamp than their tick", f"step {step}")
    return past_end


def _sources(ticks: list[Message]) -> list[int]:
    counts = [0] * SOURCES
    for tick in ticks:
        source = int(decoded(tick).applied_source)
        if source < SOURCES:
            counts[source] += 1
    return counts
