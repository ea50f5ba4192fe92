"""The labelling page's view of a folder: its episodes, their frames, and labels to store.

An episode is one bag, or one branch of a session's tree that no bag has. `LabelStore` is not
thread-safe: one thread uses it. `hiwm_core.episode_labels` says where labels are stored.
"""

import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiwm_console import protocol
from hiwm_console.pictures import picture
from hiwm_console.protocol import Refused
from hiwm_console.session_files import TREE_FILE, SessionFiles
from hiwm_core.bag_digest import BagDigest, read_digest
from hiwm_core.bags.recover import is_bag, needs_recovery, real_bag, session_of
from hiwm_core.branch_reader import BranchReader
from hiwm_core.branch_store import BranchStore
from hiwm_core.episode_labels import (
    EpisodeLabel,
    StaleLabelError,
    fingerprint,
    label_of,
    newest_beside,
    tree_labels,
    write_bag_label,
)
from hiwm_core.errors import BagError, HiwmError, StoreError
from hiwm_core.session_lock import tool_lock
from hiwm_core.tasks import FAILURE, SUCCESS, load_task

MOST_MARKS = 60  # in one message of at most protocol.MOST_BYTES
_KEPT = 3  # episodes kept open: the one before, the present one, the next
_ROLE = "branch_manager"  # the only writer of a tree


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode to look at."""

    session: Path
    branch_id: str
    bag: Path | None  # None: only states in the session
    name: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the page wants to store."""

    label: EpisodeLabel
    seen: str  # what the page was shown, as `opened` said


def parse_verdict(text: str) -> Verdict:
    """Return the verdict in a text of JSON. Raises Refused for anything else."""
    data = protocol.read_object(text)
    if set(data) != {"label", "progress", "note", "who", "seen"}:
        raise Refused("a label has label, progress, note, who and seen, and nothing else")
    marks = data["progress"]
    if not isinstance(marks, list) or len(marks) > MOST_MARKS:
        raise Refused(f"progress is not a list of at most {MOST_MARKS} marks")
    texts = {}
    for key, most in (("label", protocol.MOST_LABEL), ("note", protocol.MOST_NOTE), ("who", 40),
                      ("seen", 80)):
        value = data[key]
        if not isinstance(value, str) or len(value) > most:
            raise Refused(f"{key} is not a text of at most {most} characters")
        texts[key] = "".join(c if c.isprintable() else " " for c in value)
    try:
        progress = {}
        for step, value in marks:
            if isinstance(step, bool) or not isinstance(step, int):
                raise Refused("a mark's step is not a whole number")
            progress[step] = float(value)
        label = EpisodeLabel(
            label=texts["label"], progress=progress, note=texts["note"], who=texts["who"]
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise Refused("a mark of progress is not [step, 0..1]") from error
    except BagError as error:
        raise Refused(error.what) from error
    return Verdict(label=label, seen=texts["seen"])


class LabelStore:
    """The episodes in or below a folder.

    Args:
        folder: a session, a folder of sessions, or a folder of bags.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._episodes: list[Episode] = []
        self._open: OrderedDict[Episode, BagDigest | list[str]] = OrderedDict()
        self._sessions: dict[Path, SessionFiles] = {}

    def close(self) -> None:
        """Close the sessions' trees."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    def listing(self) -> dict[str, Any]:
        """Return the folder's episodes as a message; numbers keep their episode as it grows."""
        found = self._find()
        self._episodes += [one for one in found if one not in self._episodes]
        trees = {session: _tree_labels(session) for session in {one.session for one in found}}
        return {
            "folder": self.folder.name, "labels": self._labels(),
            "episodes": [
                {"number": number, "name": one.name, **_shown(one, trees.get(one.session, {}))}
                for number, one in enumerate(self._episodes)
            ],
        }

    def opened(self, number: int) -> dict[str, Any]:
        """Return an episode's steps, rate and label, and what a later label must refer to.

        Raises:
            HiwmError: no such episode, or it cannot be read.
        """
        episode = self._episode(number)
        seen = self._seen(episode)
        steps, rate = self._steps(episode)
        shown = _shown(episode, _tree_labels(episode.session))
        return {"number": number, "name": episode.name, "steps": steps, "rate": rate,
                "cameras": self._cameras(episode), "seen": seen, **shown}

    def frame(self, number: int, camera: int, index: int) -> bytes:
        """Return a picture of a tick of an episode, by one of the cameras that `opened` lists.

        Raises:
            HiwmError: no such episode, camera or tick, or no picture of it.
        """
        episode = self._episode(number)
        contents = self._contents(episode)
        ticks = contents.ticks if isinstance(contents, BagDigest) else contents
        cameras = self._cameras(episode)
        if not 0 <= index < len(ticks):
            raise BagError(f"no tick {index}", where=episode.name)
        if not 0 <= camera < len(cameras):
            raise BagError(f"no camera {camera}", where=episode.name)
        if isinstance(contents, BagDigest):
            found = contents.frame(contents.ticks[index], cameras[camera])
            if found is None:
                raise BagError(f"no picture of tick {index} by camera {cameras[camera]}",
                               where=episode.name)
            return picture(found)
        return self._session(episode.session).frame(contents[index])

    def branch_of(self, number: int) -> str:
        """Return the episode's branch if the session's tree has it; else an empty text."""
        episode = self._episode(number)
        return episode.branch_id if episode.branch_id in _tree_labels(episode.session) else ""

    def check(self, number: int, verdict: Verdict) -> None:
        """Refuse a verdict that cannot be stored.

        Raises:
            StaleLabelError: the episode has changed since it was shown.
            BagError: the label is not one of the task's, or a mark is outside the episode.
        """
        episode, label = self._episode(number), verdict.label
        if verdict.seen != self._seen(episode):
            raise StaleLabelError(
                "the episode has changed since it was shown", where=episode.name,
                remedy="look at it again, then label it",
            )
        if label.label and label.label not in self._labels():
            raise BagError(f"{label.label!r} is not a label of this task", where=episode.name,
                           remedy=f"use one of {', '.join(self._labels())}")
        if label.progress and episode.bag is None:
            raise BagError("progress is stored beside a bag, and this branch has none",
                           where=episode.name, remedy="record the session to mark progress")
        known = set(self._steps(episode)[0])
        if outside := set(label.progress) - known:
            raise BagError(f"step {min(outside)} is not in the episode", where=episode.name)

    def write(self, number: int, verdict: Verdict, *, tree: bool = True) -> dict[str, Any]:
        """Store a verdict; return the episode's label as in `listing`.

        Args:
            number: the episode.
            verdict: what the person said.
            tree: also write it into the session's tree; False if the branch manager has.

        Raises:
            HiwmError: see `check`; or the session is in use, or the disk refuses.
        """
        self.check(number, verdict)
        episode, label = self._episode(number), verdict.label
        if tree and self.branch_of(number):
            with (
                tool_lock(episode.session, _ROLE),
                BranchStore(episode.session / TREE_FILE) as store,
            ):
                store.label(
                    episode.branch_id, label.label, label.note, label.who,
                    after_ns=newest_beside(episode.session, episode.branch_id),
                )
        if episode.bag is not None:
            in_tree = _tree_labels(episode.session).get(episode.branch_id, EpisodeLabel())
            write_bag_label(
                episode.bag, label, seen=verdict.seen, after_ns=in_tree.labelled_ns
            )
        return {"number": number, **_shown(episode, _tree_labels(episode.session))}

    def _episode(self, number: int) -> Episode:
        if not 0 <= number < len(self._episodes):
            raise BagError(f"no episode {number}", where=self.folder.name)
        return self._episodes[number]

    def _find(self) -> list[Episode]:
        """Return the episodes: bags by session and time, then branches without a bag."""
        bags: set[Path] = set()
        trees: set[Path] = set()
        for place, folders, names in os.walk(self.folder, followlinks=True):
            # Folders with a dot belong to the recorder; states are many and no episodes.
            folders[:] = [name for name in folders if name[0] != "." and name != "states"]
            if TREE_FILE in names:
                trees.add(Path(place).resolve())
            if any(name.endswith(".mcap") for name in names) and is_bag(Path(place)):
                bags.add(real_bag(Path(place)))
        found = []
        covered: set[tuple[Path, str]] = set()
        for bag in sorted(bags):
            branch, session = bag.name.rpartition("_e")[0] or bag.name, session_of(bag)
            covered.add((session, branch))
            found.append(Episode(
                session=session, branch_id=branch, bag=bag, name=self._name(session, bag.name)
            ))
        for session in sorted(trees):
            found += [
                Episode(session=session, branch_id=branch, bag=None,
                        name=self._name(session, branch))
                for branch in _tree_labels(session) if (session, branch) not in covered
            ]
        return sorted(found, key=lambda one: one.name)

    def _name(self, session: Path, name: str) -> str:
        return name if session == self.folder.resolve() else f"{session.name}/{name}"

    def _labels(self) -> list[str]:
        task = SessionFiles(self.folder).description().get("task", "")
        try:
            return list(load_task(str(task)).labels)
        except HiwmError:
            return [SUCCESS, FAILURE]

    def _seen(self, episode: Episode) -> str:
        if episode.bag is not None:
            return fingerprint(episode.bag)
        return f"{len(_branch_nodes(episode))} states"

    def _contents(self, episode: Episode) -> BagDigest | list[str]:
        """Return a bag's digest, or a branch's nodes."""
        if episode not in self._open:
            if episode.bag is None:
                self._open[episode] = _branch_nodes(episode)
            elif needs_recovery(episode.bag):
                raise BagError("it is being recorded, or was never closed", where=episode.name,
                               remedy="wait, or run python -m hiwm_recording.recover on it")
            else:
                self._open[episode] = read_digest(episode.bag)
            while len(self._open) > _KEPT:
                self._open.popitem(last=False)
        self._open.move_to_end(episode)
        return self._open[episode]

    def _cameras(self, episode: Episode) -> list[str]:
        """Return an episode's cameras. States have the first one's picture only, without a name."""
        contents = self._contents(episode)
        return list(contents.cameras) if isinstance(contents, BagDigest) else [""]

    def _steps(self, episode: Episode) -> tuple[list[int], float]:
        """Return the steps of an episode, and its ticks per second."""
        contents = self._contents(episode)
        if not isinstance(contents, BagDigest):
            return [int(node.rpartition(":")[2]) for node in contents], 10.0
        ticks = contents.ticks
        seconds = (ticks[-1].stamp_ns - ticks[0].stamp_ns) * 1e-9 if ticks else 0.0
        rate = (len(ticks) - 1) / seconds if seconds > 0.0 else 10.0
        return [tick.step for tick in ticks], round(rate, 2)

    def _session(self, session: Path) -> SessionFiles:
        if session not in self._sessions:
            self._sessions[session] = SessionFiles(session)
        return self._sessions[session]


def _branch_nodes(episode: Episode) -> list[str]:
    with BranchReader(episode.session / TREE_FILE) as reader:
        return [
            node.node_id for node in sorted(reader.tree(), key=lambda node: node.step)
            if node.branch_id == episode.branch_id
        ]


def _tree_labels(session: Path) -> Mapping[str, EpisodeLabel]:
    try:
        with BranchReader(session / TREE_FILE) as reader:
            return tree_labels(reader)
    except StoreError:
        return {}


def _shown(episode: Episode, branches: Mapping[str, EpisodeLabel]) -> dict[str, Any]:
    """Return an episode's label for the page, and why a stored one is not used."""
    branch = branches.get(episode.branch_id)
    label, problem = label_of(episode.bag, branch) if episode.bag else (branch, "")
    label = label or EpisodeLabel()
    return {
        "label": label.label, "note": label.note, "who": label.who,
        "when_ms": label.labelled_ns // 1_000_000, "problem": problem,
        "progress": [[step, value] for step, value in sorted(label.progress.items())],
    }
