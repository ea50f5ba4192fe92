"""What people say of recorded episodes: success or failure, progress, who said it, and when.

The only code that reads and writes these labels. A branch's verdict is stored in its session's
tree, with or without a bag. The verdict and the progress of one bag are stored in `label.json`
beside its file, with a fingerprint of that file. The newer of the two verdicts counts. A bag that
has changed since makes its label stale: it is reported and not used. Data sets, trained heads and
the labelling page read labels from here. Tested by `test_episode_labels.py`.
"""

import glob
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiwm_core.atomic_files import replace_file
from hiwm_core.bags.contents import mcap_path
from hiwm_core.bags.session import BAGS_FOLDER
from hiwm_core.branch_reader import BranchReader
from hiwm_core.branch_records import Branch, later_than
from hiwm_core.errors import BagError, reason

LABEL_FILE = "label.json"
VERSION = 1
_KEYS = {"version", "label", "progress", "note", "who", "labelled_ns", "fingerprint"}
# Both ends of a bag's file. The start has the lineage; the end has the index, and checksum and
# length of every part. So a file that was written again differs there.
_END_BYTES = 1 << 20


class StaleLabelError(BagError):
    """A label was given to another content of its bag."""


@dataclass(frozen=True, kw_only=True)
class EpisodeLabel:
    """What a person said of one episode."""

    label: str = ""  # one of the task's labels; empty = none
    progress: Mapping[int, float] = field(default_factory=dict)  # by control step, 0..1
    note: str = ""
    who: str = ""  # empty = unknown
    labelled_ns: int = 0  # system time; 0 = unknown

    def __post_init__(self) -> None:
        """Check the marks. Raises BagError for a progress outside 0..1."""
        for step, value in self.progress.items():
            if step < 0 or not 0.0 <= value <= 1.0:
                raise BagError(
                    f"progress {value:g} at step {step}", where="progress of a label",
                    remedy="give 0 to 1, at a step of the episode",
                )

    def progress_at(self, steps: ArrayLike) -> NDArray[np.float64]:
        """Return the progress at control steps [T]; NaN before the first and after the last mark.

        Between two marks it is interpolated linearly.
        """
        wanted = np.asarray(steps, np.float64)
        if not self.progress:
            return np.full(wanted.shape, math.nan)
        marks = sorted(self.progress.items())
        at = np.array([step for step, _ in marks], np.float64)
        values = np.array([value for _, value in marks], np.float64)
        return np.interp(wanted, at, values, left=math.nan, right=math.nan)


def fingerprint(bag: Path) -> str:
    """Return a text that changes with the content of a bag: length, and a hash of both ends.

    Raises:
        BagError: the bag has no file, or it cannot be read.
    """
    path = mcap_path(bag)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.sha256(file.read(_END_BYTES))
            file.seek(max(0, size - _END_BYTES))
            digest.update(file.read(_END_BYTES))
    except OSError as error:
        raise BagError(f"cannot read the bag: {reason(error)}", where=str(path)) from error
    return f"{size}:{digest.hexdigest()[:32]}"


def read_bag_label(bag: Path) -> EpisodeLabel | None:
    """Return the label stored beside a bag; None if there is none.

    Raises:
        StaleLabelError: the bag has changed since it was labelled.
        BagError: the label or the bag cannot be read.
    """
    stored = _stored(bag)
    if stored is None:
        return None
    label, seen = stored
    if seen != fingerprint(bag):
        raise StaleLabelError(
            f"the episode has changed since {label.who or 'somebody'} labelled it",
            where=str(bag / LABEL_FILE), remedy="look at it and label it again: scripts/console",
        )
    return label


def write_bag_label(
    bag: Path, label: EpisodeLabel, *, seen: str, after_ns: int = 0
) -> EpisodeLabel:
    """Store a label beside a bag, in place of an earlier one; return it with its time.

    Args:
        bag: folder of a closed bag.
        label: what the person said; a `labelled_ns` of 0 is replaced by the present time.
        seen: `fingerprint` of the bag when the person looked at it.
        after_ns: of the label in the session's tree, which this one replaces.

    Raises:
        StaleLabelError: the bag has changed since the person looked at it.
        BagError: the bag or the disk refuses.
    """
    if seen != fingerprint(bag):
        raise StaleLabelError(
            "the episode has changed since it was shown", where=str(bag),
            remedy="look at it again, then label it",
        )
    stamp = label.labelled_ns or later_than(max(after_ns, label_time(bag)))
    content = {
        "version": VERSION, "label": label.label, "note": label.note, "who": label.who,
        "progress": [[step, label.progress[step]] for step in sorted(label.progress)],
        "labelled_ns": stamp, "fingerprint": seen,
    }
    try:
        replace_file(bag / LABEL_FILE, json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise BagError(
            f"cannot store the label: {reason(error)}", where=str(bag / LABEL_FILE)
        ) from error
    return EpisodeLabel(
        label=label.label, progress=dict(label.progress), note=label.note, who=label.who,
        labelled_ns=stamp,
    )


def newest_beside(session: Path, branch_id: str) -> int:
    """Return when the newest label beside a bag of a branch was given; 0 without one."""
    bags = (session / BAGS_FOLDER).glob(f"{glob.escape(branch_id)}_e*")
    return max((label_time(bag) for bag in bags), default=0)


def branch_label(branch: Branch) -> EpisodeLabel:
    """Return the label of a branch of a session's tree."""
    return EpisodeLabel(
        label=branch.label, note=branch.note, who=branch.labelled_by,
        labelled_ns=branch.labelled_ns,
    )


def tree_labels(reader: BranchReader) -> dict[str, EpisodeLabel]:
    """Return the labels of a session's tree, by branch."""
    return {branch.branch_id: branch_label(branch) for branch in reader.branches()}


def label_of(bag: Path, of_branch: EpisodeLabel | None = None) -> tuple[EpisodeLabel, str]:
    """Return the label that counts for a bag, and why a stored one is not used; empty if it is.

    Args:
        bag: its folder.
        of_branch: the label of its branch in the session's tree, if there is one.
    """
    branch = of_branch or EpisodeLabel()
    try:
        beside = read_bag_label(bag)
    except BagError as error:
        # The branch's verdict still counts if it was given later than the one beside the bag.
        stored = label_time(bag)
        return (branch if branch.labelled_ns > stored else EpisodeLabel()), str(error)
    if beside is None:
        return branch, ""
    if branch.labelled_ns > beside.labelled_ns:
        return EpisodeLabel(
            label=branch.label, progress=beside.progress, note=branch.note, who=branch.who,
            labelled_ns=branch.labelled_ns,
        ), ""
    return beside, ""


def labels_state(bags: list[Path]) -> str:
    """Return a digest of the labels beside bags; every change of one changes it."""
    digest = hashlib.sha256()
    for bag in bags:
        path = bag / LABEL_FILE
        if path.is_file():
            digest.update(f"{bag.name}:".encode() + path.read_bytes())
    return digest.hexdigest()


def label_time(bag: Path) -> int:
    """Return when the label beside a bag was given; 0 without one that can be read."""
    try:
        stored = _stored(bag)
    except BagError:
        return 0
    return stored[0].labelled_ns if stored else 0


def _stored(bag: Path) -> tuple[EpisodeLabel, str] | None:
    """Return the label beside a bag and the fingerprint in it. Raises BagError if unreadable."""
    path = bag / LABEL_FILE
    if not path.is_file():
        return None
    try:
        data: Any = json.loads(path.read_text())
        if not isinstance(data, dict) or set(data) != _KEYS or data["version"] != VERSION:
            raise ValueError("unknown content")
        label = EpisodeLabel(
            label=str(data["label"]), note=str(data["note"]), who=str(data["who"]),
            labelled_ns=int(data["labelled_ns"]),
            progress={int(step): float(value) for step, value in data["progress"]},
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BagError(
            f"not a label: {reason(error)}", where=str(path),
            remedy="delete the file and label the episode again",
        ) from error
    return label, str(data["fingerprint"])
