"""What people said of recordings, for the heads of world models.

A session's tree and the files beside its bags have the labels that were given to branches and
episodes (`hiwm_core.episode_labels`). Its evaluation has a person's verdict of each trial.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hiwm_core.bags import Segment
from hiwm_core.bags.recover import session_of
from hiwm_core.episode_labels import EpisodeLabel
from hiwm_core.errors import StoreError
from hiwm_core.trial_lines import TRIALS_FILE, trial_lines
from hiwm_learning.datasets.session_trees import SessionTrees

# How results name a judge that was a person.
_PERSON = "person"


class PersonLabels:
    """Labels of bags; each session is read once.

    Args:
        write: receives a line for each label that cannot be used.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._trees = SessionTrees(without=True, write=write)
        self._verdicts: dict[Path, dict[str, str]] = {}

    def of(self, segment: Segment) -> EpisodeLabel:
        """Return the label of a segment; without one, the verdict of its trial."""
        given = self._trees.label(segment.path, segment.lineage.branch_id)
        if given.label:
            return given
        session = session_of(segment.path)
        if session not in self._verdicts:
            self._verdicts[session] = self._read(session / TRIALS_FILE)
        return replace(given, label=self._verdicts[session].get(segment.lineage.episode_id, ""))

    def _read(self, path: Path) -> dict[str, str]:
        """Return people's verdicts by episode."""
        try:
            newest = trial_lines(path).values() if path.is_file() else ()
            return {
                str(trial["episode_id"]): str(trial["outcome"]) for trial in newest
                if str(trial["judged_by"]).startswith(_PERSON)
            }
        except (StoreError, KeyError) as error:
            self._write(f"{path}: without people's verdicts: {error}")
            return {}
