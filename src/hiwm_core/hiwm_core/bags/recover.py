"""Making a bag of a file whose writer was killed.

Everything up to the last flush is in the file; what is missing is the end of the last chunk, the
index and metadata.yaml. Recovery writes all whole messages into a proper bag beside it, puts that
in its place, and keeps the original file under `<name>.mcap.original`.
"""

import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hiwm_core.bags.audit import AUDIT_FILE, Audit, audit_bag, bag_lineage, mcap_path
from hiwm_core.bags.lineage import Lineage
from hiwm_core.bags.mcap_file import McapContents, decoded, read_mcap
from hiwm_core.bags.session import BAGS_FOLDER
from hiwm_core.bags.writer import METADATA_FILE, Topic, open_bag
from hiwm_core.errors import BagError
from hiwm_core.session_lock import Owner, recording_owner

ORIGINAL_SUFFIX = ".original"
# Beside the bags; a bag written in it carries the final name, so nothing has to be renamed inside.
_SCRATCH_FOLDER = ".recovering"
# Beside the bags: what a recorder left that was killed as it began a bag.
EMPTY_FOLDER = ".without_ticks"


class NoTickError(BagError):
    """An open bag held no tick and was put aside: nothing had happened in it."""


def needs_recovery(bag: Path) -> bool:
    """Return whether a bag folder was never closed, or its recovery was cut short."""
    if not bag.is_dir():
        return False
    return not (bag / METADATA_FILE).exists() and (
        any(bag.glob("*.mcap")) or any(bag.glob(f"*.mcap{ORIGINAL_SUFFIX}"))
    )


def recorded_by(bag: Path) -> Owner | None:
    """Return the process that is writing a bag now; None for one that is closed or left open."""
    return recording_owner(session_of(bag)) if needs_recovery(bag) else None


def session_of(bag: Path) -> Path:
    """Return the session folder a bag lies in."""
    folder = bag.absolute().parent
    return folder.parent if folder.name == BAGS_FOLDER else folder


def unfinished(bag: Path) -> bool:
    """Return whether `recover_bag` has something to do: a bag never closed, or never audited.

    A recorder that is killed leaves both: a bag is closed some tenths of a second before its audit
    is there.
    """
    closed = (bag / METADATA_FILE).exists()
    return needs_recovery(bag) or (closed and not (bag / AUDIT_FILE).exists())


def recover_bag(bag: Path) -> Audit:
    """Make a bag folder that was never closed valid, and return its audit, which is kept beside it.

    Safe to run again after being interrupted; a bag that is whole already is only audited.

    Raises:
        NoTickError: it held no tick, and lies in `EMPTY_FOLDER` now, as it was.
        BagError: nothing readable in it.
        OSError: the disk refuses; the original is untouched.
    """
    bag = bag.absolute()
    scratch = bag.parent / _SCRATCH_FOLDER / bag.name
    shutil.rmtree(scratch, ignore_errors=True)
    if not needs_recovery(bag):
        audit = audit_bag(bag)
        audit.save(bag)
        return audit
    original = _original(bag)
    contents = read_mcap(original)
    if not any(message.channel.topic.endswith("/tick") for message in contents.messages):
        aside = _put_aside(bag)
        raise NoTickError(
            "the recorder ended before this bag's first tick", where=bag.name,
            remedy=f"nothing to do; the file is kept as {aside}",
        )
    lineage = replace(_with_parent(bag_lineage(bag, contents), contents), recovered=True)
    try:
        _rewrite(contents, lineage, scratch)
        kept = bag / (original.name.removesuffix(ORIGINAL_SUFFIX) + ORIGINAL_SUFFIX)
        original.rename(kept)
        recovered = mcap_path(scratch)
        recovered.replace(bag / recovered.name)
        # Last: an interruption before it leaves a folder that still needs recovery.
        (scratch / METADATA_FILE).replace(bag / METADATA_FILE)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        with suppress(OSError):  # another recovery may be using it
            scratch.parent.rmdir()
    audit = audit_bag(bag)
    audit.save(bag)
    return audit


def session_bags(session_dir: Path) -> list[Path]:
    """Return the bag folders of a session, in the order they were begun."""
    folder = session_dir / BAGS_FOLDER
    if not folder.is_dir():
        folder = session_dir
    bags = [
        path for path in folder.iterdir()
        if path.is_dir() and (any(path.glob("*.mcap*")) or (path / METADATA_FILE).exists())
    ]
    return sorted(bags, key=_begun)


def _begun(bag: Path) -> tuple[int, str]:
    """Sort key: epochs rise over a session, file times do after a copy no more."""
    try:
        contents_epoch = int(bag.name.rpartition("_e")[2].partition("_")[0])
    except ValueError:
        contents_epoch = 0
    return contents_epoch, bag.name


def _put_aside(bag: Path) -> Path:
    folder = bag.parent / EMPTY_FOLDER
    folder.mkdir(exist_ok=True)
    aside, number = folder / bag.name, 1
    while aside.exists():
        number += 1
        aside = folder / f"{bag.name}.{number}"
    return bag.rename(aside)


def _original(bag: Path) -> Path:
    kept = sorted(bag.glob(f"*.mcap{ORIGINAL_SUFFIX}"))
    if kept:
        return kept[0]
    # The file a killed recorder left is the only one; a second would be rosbag2's next split.
    return mcap_path(bag)


def _with_parent(lineage: Lineage, contents: McapContents) -> Lineage:
    """Fill in the branch's parent from the tree messages in the bag."""
    if lineage.parent_branch_id:
        return lineage
    for message in contents.messages:
        if not message.channel.topic.endswith("/branches/tree"):
            continue
        for node in decoded(message).nodes:
            branch, _, step = node.parent_id.rpartition(":")
            if node.branch_id == lineage.branch_id and branch not in ("", node.branch_id):
                return replace(lineage, parent_branch_id=branch, fork_step=int(step))
    return lineage


def _rewrite(contents: McapContents, lineage: Lineage, path: Path) -> None:
    custom = lineage.custom_data()
    bag = open_bag(path, custom)
    try:
        latched = ("/world_info", "/branches/tree", "/control_state")
        for message in contents.messages:
            channel = message.channel
            topic = Topic(
                name=channel.topic, message_type=channel.message_type,
                latched=channel.topic.endswith(latched),
            )
            bag.write(topic, message.time_ns, bytes(message.data))
        bag.close(custom)
    except BaseException:
        bag.abort()
        raise
    for file in path.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
