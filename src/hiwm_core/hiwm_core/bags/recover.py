"""Makes a valid bag from one that was never closed or is damaged.

A killed recorder leaves a file without index and metadata.yaml, which contains everything up to
the last flush. A power cut or a bad disk leaves holes. Recovery writes all whole messages into a
new bag beside it, puts that in its place, and keeps the original file as `<name>.mcap.original`.
If only metadata.yaml is missing or damaged, only that is rewritten.
"""

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from hiwm_core.atomic_files import sync_folder
from hiwm_core.bags.audit import AUDIT_FILE, Audit, audit_bag
from hiwm_core.bags.contents import BagContents, errors_of, mcap_path
from hiwm_core.bags.lineage import Lineage
from hiwm_core.bags.mcap_file import McapFile, decoded, ends_closed
from hiwm_core.bags.metadata import (
    METADATA_FILE,
    information_of,
    looks_closed,
    topic_counts,
    write_information,
)
from hiwm_core.bags.session import BAGS_FOLDER
from hiwm_core.bags.topics import Stream, stream
from hiwm_core.bags.writer import Topic, open_bag
from hiwm_core.errors import BagError
from hiwm_core.session_lock import LOCKS_FOLDER, Owner, recording_owner

ORIGINAL_SUFFIX = ".original"
# Beside the bags. A bag written here already has its final name, which its content contains too.
_SCRATCH_FOLDER = ".recovering"
# Beside the bags: bags whose recorder was killed before their first tick.
EMPTY_FOLDER = ".without_ticks"


class NoTickError(BagError):
    """An open bag without ticks, which was moved to `EMPTY_FOLDER`."""


def needs_recovery(bag: Path) -> bool:
    """Return whether a bag folder was never closed, or its recovery was cut short.

    Checks only the ends of its files. An audit finds damage in the middle.
    """
    if not bag.is_dir():
        return False
    files = list(bag.glob("*.mcap"))
    if not looks_closed(bag):
        return bool(files) or any(bag.glob(f"*.mcap{ORIGINAL_SUFFIX}"))
    try:
        return len(files) == 1 and not ends_closed(files[0])
    except BagError:  # shorter than any MCAP file
        return True


def recorded_by(bag: Path) -> Owner | None:
    """Return the process that is writing a bag now; None if it is closed or was left open."""
    return recording_owner(session_of(bag)) if needs_recovery(bag) else None


def session_of(bag: Path) -> Path:
    """Return the session folder of a bag."""
    return _session_of_folder(real_bag(bag).parent)


def real_bag(bag: Path) -> Path:
    """Return the absolute path of a bag with links resolved.

    Only the link from a session to its bags on another disk is kept: the session's other files
    are beside the link.
    """
    real, folder = bag.resolve(), bag.absolute().parent
    if folder.name == BAGS_FOLDER and folder.resolve() == real.parent:
        session = folder.parent.resolve()
        found = _session_of_folder(real.parent)
        if (session / LOCKS_FOLDER).is_dir() and not (found / LOCKS_FOLDER).is_dir():
            return session / BAGS_FOLDER / real.name
    return real


def _session_of_folder(bags: Path) -> Path:
    return bags.parent if bags.name == BAGS_FOLDER else bags


def unfinished(bag: Path) -> bool:
    """Return whether `recover_bag` has work to do: the bag was never closed or never audited.

    A killed recorder may leave both, as it closes a bag some tenths of a second before it writes
    the audit.
    """
    return needs_recovery(bag) or (looks_closed(bag) and not (bag / AUDIT_FILE).exists())


def is_damaged(bag: Path) -> bool:
    """Return whether a closed bag has problems that `recover_bag` handles. Reads all of it.

    Raises:
        BagError: nothing in it is readable.
    """
    contents = BagContents(bag)
    for _ in contents.messages():
        pass
    return bool(contents.problems())


def recover_bag(bag: Path) -> Audit:
    """Recover a bag that was never closed or is damaged; save and return its audit.

    Safe to repeat after an interruption. A whole bag is only audited.

    Raises:
        NoTickError: the bag has no tick; it was moved, unchanged, to `EMPTY_FOLDER`.
        BagError: nothing in it is readable.
        OSError: the disk refuses; the original is untouched.
    """
    bag = bag.resolve()
    scratch = bag.parent / _SCRATCH_FOLDER / bag.name
    shutil.rmtree(scratch, ignore_errors=True)
    with errors_of(bag):
        original = _original(bag)
        found = _Found(bag, original)
        if found.problems and not found.ticks:
            _refuse_without_ticks(bag, found)
        if found.problems and found.metadata_only:
            write_information(bag, information_of(found.file, found.lineage.custom_data()))
        elif found.problems:
            _replace(bag, original, found, scratch)
    audit = audit_bag(bag)
    audit.save(bag)
    return audit


def session_bags(session_dir: Path) -> list[Path]:
    """Return the bag folders of a session, in the order of their start."""
    folder = session_dir / BAGS_FOLDER
    if not folder.is_dir():
        folder = session_dir
    return sorted((path for path in folder.iterdir() if is_bag(path)), key=_start_order)


def is_bag(path: Path) -> bool:
    """Return whether a path is the folder of a bag, whole or not."""
    return path.is_dir() and (any(path.glob("*.mcap*")) or (path / METADATA_FILE).exists())


def _start_order(bag: Path) -> tuple[int, str]:
    """Return a sort key: epochs rise over a session, file times may not after a copy."""
    try:
        epoch = int(bag.name.rpartition("_e")[2].partition("_")[0])
    except ValueError:
        epoch = 0
    return epoch, bag.name


def _put_aside(bag: Path) -> Path:
    folder = bag.parent / EMPTY_FOLDER
    folder.mkdir(exist_ok=True)
    aside, number = folder / bag.name, 1
    while aside.exists():
        number += 1
        aside = folder / f"{bag.name}.{number}"
    return bag.rename(aside)


def _refuse_without_ticks(bag: Path, found: "_Found") -> NoReturn:
    if found.file.damage or found.lost:
        raise BagError(
            f"none of its ticks can be read: {'; '.join(found.problems)}", where=str(bag),
            remedy="restore it from a backup, or move it away",
        )
    raise NoTickError(
        "the recorder stopped before this bag's first tick", where=bag.name,
        remedy=f"nothing to do; the file is kept as {_put_aside(bag)}",
    )


def _originals(bag: Path) -> list[Path]:
    """Return the originals of earlier recoveries, oldest first."""
    return sorted(bag.glob(f"*.mcap{ORIGINAL_SUFFIX}*"), key=lambda path: (len(path.name), path))


def _original(bag: Path) -> Path:
    kept = _originals(bag)
    if kept and not looks_closed(bag):
        return kept[-1]  # its recovery was interrupted
    # A killed recorder leaves one file. A second would be rosbag2's next split.
    return mcap_path(bag)


class _Found:
    """The result of one pass over a bag."""

    def __init__(self, bag: Path, original: Path) -> None:
        contents = BagContents(bag, original)
        self.file = contents.file
        self.ticks = 0
        parent: tuple[str, int] | None = None
        try:
            for message in contents.messages():
                kind = stream(message.channel)
                self.ticks += kind is Stream.TICK
                if kind is Stream.TREE and parent is None:
                    parent = _parent(decoded(message), contents.lineage().branch_id)
        except BagError:
            # Empty or all zeros: the power failed before anything reached the disk.
            with original.open("rb") as file:
                if any(file.read(1 << 20)):
                    raise
        self.problems = contents.problems()
        self.lost = _lost(contents)
        self.lineage = contents.lineage()
        if parent is not None and not self.lineage.parent_branch_id:
            self.lineage = replace(
                self.lineage, parent_branch_id=parent[0], fork_step=parent[1]
            )

    @property
    def metadata_only(self) -> bool:
        """Whether the MCAP file is whole."""
        return self.file.closed and not self.file.damage and not self.lost


def _lost(contents: BagContents) -> str:
    """Return a text that says what cannot be recovered; empty if no loss is known."""
    file = contents.file
    stated = topic_counts(contents.information) if contents.information else dict(file.stated)
    lost = sum(stated.values()) - file.counts.total()
    parts = []
    if lost > 0:
        parts.append(f"{lost} of {sum(stated.values())} messages")
    if file.lost_chunks:
        parts.append(f"{file.lost_chunks} damaged chunks")
    elif file.damage and not parts:
        parts.append("an unknown part")
    return ", ".join(parts)


def _parent(tree: Any, branch_id: str) -> tuple[str, int] | None:
    """Return a branch's parent and fork step from a BranchTree message."""
    for node in tree.nodes:
        branch, _, step = node.parent_id.rpartition(":")
        if node.branch_id == branch_id and branch not in ("", node.branch_id):
            return branch, int(step)
    return None


def _replace(bag: Path, original: Path, found: _Found, scratch: Path) -> None:
    """Write the messages of a file into a new one, and put that in its place."""
    lineage = replace(found.lineage, recovered=True, lost=found.lost)
    try:
        _rewrite(found.file, lineage, scratch)
        recovered = mcap_path(scratch)
        # Until the end, a damaged metadata.yaml would make the folder look closed.
        (bag / METADATA_FILE).unlink(missing_ok=True)
        if original.suffix == ".mcap":
            number = len(_originals(bag)) + 1
            suffix = ORIGINAL_SUFFIX + (str(number) if number > 1 else "")
            original.rename(bag / (original.name + suffix))
        recovered.replace(bag / recovered.name)
        sync_folder(bag)
        # Last: an interruption before it leaves a folder that still needs recovery.
        (scratch / METADATA_FILE).replace(bag / METADATA_FILE)
        sync_folder(bag)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        with suppress(OSError):  # another recovery may be using it
            scratch.parent.rmdir()


def _rewrite(file: McapFile, lineage: Lineage, path: Path) -> None:
    custom = lineage.custom_data()
    bag = open_bag(path, custom)
    try:
        latched = ("/world_info", "/branches/tree", "/control_state")
        chunk_at = 0
        for message in file.messages():
            if message.chunk_at != chunk_at:  # same chunks as before: damage costs one chunk
                bag.flush()
                chunk_at = message.chunk_at
            channel = message.channel
            topic = Topic(
                name=channel.topic, message_type=channel.message_type,
                latched=channel.topic.endswith(latched),
            )
            bag.write(topic, message.time_ns, message.data)
        bag.close(custom)
    except BaseException:
        bag.abort()
        raise
