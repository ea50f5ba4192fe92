"""Starts, results, and the folder that stores them.

A trial is one line of ``trials.jsonl``, written and synced when it ends, so that a killed
evaluation can continue with the next one. Tested by ``test_trials.py``.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hiwm_core.atomic_files import replace_file
from hiwm_core.config_files import number_list
from hiwm_core.errors import ConfigError, StoreError, reason
from hiwm_core.evaluation_file import EVALUATION_FILE, require_present_evaluation, with_format
from hiwm_core.json_files import read_object
from hiwm_core.tasks import Task
from hiwm_core.trial_lines import read_lines
from hiwm_evaluation.statistics import wilson_interval

StartValues = tuple[float, ...]  # in the order of the task's start_names
# The evaluator takes its folder from the session, scripts/rollout from an option.
_ANOTHER = "give another result folder (session_dir:= or --output)"


class Outcome(StrEnum):
    """How a trial ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    ABORTED = "aborted"  # for reasons other than the policy: a dead world, a takeover


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """One finished trial."""

    trial: int  # from 0
    start: StartValues
    seed: int
    outcome: Outcome
    reason: str  # for people
    steps: int  # ticks from start to success or end
    best: float  # largest progress or probability of success seen, 0..1
    judged_by: str
    policy: str  # name and first 8 hash digits; empty if it sent nothing
    episode_id: str
    seconds: float  # wall time of the trial
    # Mean of the world's trust in its frames, 0..1, 1 on hardware. None where it gave none, and in
    # trials from before it was recorded.
    trust: float | None = None


def sampled_starts(task: Task, seed: int, count: int) -> list[StartValues]:
    """Return starts of the task; a larger count begins with the same starts."""
    generator = np.random.default_rng(seed)
    # Rounded to millionths, so that they survive a text file unchanged.
    return [
        tuple(round(float(value), 6) for value in task.sample_start(generator).values())
        for _ in range(count)
    ]


def read_starts(path: Path, count: int, names: Sequence[str]) -> list[StartValues]:
    """Return the starts of a YAML list, each a list of values in the order of the names.

    Args:
        path: of the file.
        count: number of starts to return, the first ones; all if 0.
        names: of the values of a start.

    Raises:
        ConfigError: the file is missing, is not a list of starts, or has too few.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f"cannot be read: {reason(error)}", where=str(path), remedy="give a YAML list of starts"
        ) from error
    if not isinstance(content, list) or len(content) < max(1, count):
        found = f"{len(content)} starts" if isinstance(content, list) else "no list"
        raise ConfigError(
            f"contains {found}, {count or 'some'} are needed", where=str(path),
            remedy=f"list one [{', '.join(names)}] per trial, or lower trials",
        )
    return [
        number_list(start, len(names), f"{path}: [{i}]")
        for i, start in enumerate(content[: count or None])
    ]


class TrialFolder:
    """The folder of one evaluation: ``evaluation.json``, ``starts.yaml``, ``trials.jsonl``.

    Args:
        path: the folder; created if missing.
        conditions: must be equal for all trials; stored in ``evaluation.json``.
        starts: of every trial.
        names: of the values of a start.

    Raises:
        StoreError: the folder cannot be written, contains an evaluation with other conditions or
            starts, or a line of it cannot be read.
    """

    def __init__(
        self, path: Path, conditions: dict[str, Any], starts: Sequence[StartValues],
        names: Sequence[str],
    ) -> None:
        self._path = path
        self._names = names
        self._lines = path / "trials.jsonl"
        self._conditions = with_format(conditions)
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._check_conditions(self._conditions)
            self._check_starts(starts)
            self._results = self._read()
            self._file = self._lines.open("ab")
        except OSError as error:
            raise StoreError(
                f"cannot be used: {error}", where=str(path), remedy=_ANOTHER
            ) from error

    @property
    def results(self) -> dict[int, TrialResult]:
        """The newest result of each trial, by its number."""
        return dict(self._results)

    @property
    def finished(self) -> set[int]:
        """Trials that need no further run: all but the aborted ones."""
        return {
            number for number, result in self._results.items()
            if result.outcome is not Outcome.ABORTED
        }

    def append(self, result: TrialResult) -> None:
        """Add one result; on return it is synced to disk."""
        line = json.dumps(asdict(result)) + "\n"
        try:
            self._file.write(line.encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StoreError(
                f"cannot be written: {error}", where=str(self._lines),
                remedy="make room and start again: it continues with the next trial",
            ) from error
        self._results[result.trial] = result

    def label(self, trial: int, success: bool, judged_by: str, note: str) -> TrialResult:
        """Apply a person's verdict to a finished trial, and return the new result.

        The line of the old verdict stays in the file.

        Raises:
            StoreError: the trial has no verdict to replace, or the file cannot be written.
        """
        result = self._results.get(trial)
        if result is None or result.outcome is Outcome.ABORTED:
            state = "has not been run" if result is None else f"was aborted, {result.reason}"
            raise StoreError(
                f"trial {trial} {state}", where=str(self._lines),
                remedy="label one that succeeded or failed",
            )
        labelled = replace(
            result, outcome=Outcome.SUCCESS if success else Outcome.FAILURE, judged_by=judged_by,
            reason=f"{note or 'labelled'} (before: {result.outcome} by {result.judged_by})",
        )
        self.append(labelled)
        return labelled

    def take_over(self, other: Path) -> None:
        """Add the trials of another folder that are not finished here.

        An aborted one is added if the trial has no result here.

        Raises:
            StoreError: its conditions or starts differ, or a line of it cannot be read.
        """
        kept = read_object(
            other / EVALUATION_FILE, "run its shard again, or delete its folder"
        )
        found = read_results(other / self._lines.name)
        _refuse_other_conditions(self._conditions, kept, str(other))
        self._check_same_starts(other / "starts.yaml")
        for number, result in sorted(found.items()):
            known = self._results if result.outcome is Outcome.ABORTED else self.finished
            if number not in known:
                self.append(result)

    def write_summary(self) -> dict[str, Any]:
        """Write ``results.json`` and return its content."""
        summary = summarize(list(self._results.values())) | {"conditions": self._conditions}
        replace_file(self._path / "results.json", json.dumps(summary, indent=2) + "\n")
        return summary

    def close(self) -> None:
        """Close the results file."""
        self._file.close()

    def _check_conditions(self, conditions: dict[str, Any]) -> None:
        path = self._path / EVALUATION_FILE
        if not path.exists():
            self._refuse_unknown_files()
            replace_file(path, json.dumps(conditions, indent=2) + "\n")
            return
        kept = read_object(path, "restore it from a copy, or " + _ANOTHER)
        _refuse_other_conditions(conditions, kept, str(self._path))

    def _check_same_starts(self, other: Path) -> None:
        """Raise StoreError if a folder's starts differ from ours where both have some."""
        ours, theirs = (
            read_starts(path, 0, self._names) for path in (self._path / "starts.yaml", other)
        )
        both = min(len(ours), len(theirs))
        if ours[:both] != theirs[:both]:
            raise StoreError(
                "contains trials from other starts", where=str(other),
                remedy=f"{_ANOTHER}, or use the same starts and seed",
            )

    def _refuse_unknown_files(self) -> None:
        """Refuse a folder with files of these names that no evaluation wrote."""
        for name in ("starts.yaml", self._lines.name, "results.json"):
            if (self._path / name).exists():
                raise StoreError(
                    f"contains {name} without an evaluation.json; nothing was changed",
                    where=str(self._path), remedy="give another output_dir",
                )

    def _check_starts(self, starts: Sequence[StartValues]) -> None:
        path = self._path / "starts.yaml"
        if path.exists():
            kept = read_starts(path, 0, self._names)
            both = min(len(kept), len(starts))
            if kept[:both] != [tuple(start) for start in starts[:both]]:
                raise StoreError(
                    "contains trials from other starts", where=str(path),
                    remedy=f"{_ANOTHER}, or use the same starts and seed",
                )
            if len(kept) >= len(starts):
                return
        listed = yaml.safe_dump([list(start) for start in starts], default_flow_style=None)
        replace_file(path, f"# {', '.join(self._names)}; one start per trial\n{listed}")

    def _read(self) -> dict[int, TrialResult]:
        """Read every complete line, and truncate a partial last line left by a kill."""
        if not self._lines.exists():
            return {}
        content = self._lines.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with self._lines.open("r+b") as file:
                file.truncate(whole)
        return read_results(self._lines)


def _refuse_other_conditions(
    conditions: dict[str, Any], kept: dict[str, Any], where: str
) -> None:
    require_present_evaluation(kept, where)
    other = sorted(
        key for key in conditions.keys() | kept.keys() if conditions.get(key) != kept.get(key)
    )
    if other:
        listed = ", ".join(f"{k} {kept.get(k)!r}, now {conditions.get(k)!r}" for k in other)
        raise StoreError(
            f"contains an evaluation with other conditions: {listed}", where=where,
            remedy=f"{_ANOTHER}, or use its conditions to continue it",
        )


def read_results(path: Path) -> dict[int, TrialResult]:
    """Return the newest result of each trial in a ``trials.jsonl``, by the trial's number.

    A last line that is still being written is left out.

    Raises:
        StoreError: the file cannot be read, or a complete line is not a result.
    """
    return read_lines(path, _result)


def _result(trial: dict[str, Any]) -> TrialResult:
    names = {field.name for field in fields(TrialResult)}
    required = {field.name for field in fields(TrialResult) if field.default is MISSING}
    if not required <= set(trial) <= names:
        raise ValueError("it has other fields")
    return TrialResult(
        **trial | {"start": tuple(trial["start"]), "outcome": Outcome(trial["outcome"])}
    )


def summarize(results: Sequence[TrialResult]) -> dict[str, Any]:
    """Return counts, success rate and its interval, without aborted trials."""
    judged = [result for result in results if result.outcome is not Outcome.ABORTED]
    wins = [result for result in judged if result.outcome is Outcome.SUCCESS]
    low, high = wilson_interval(len(wins), len(judged))
    return {
        "trials": len(judged),
        "successes": len(wins),
        "aborted": len(results) - len(judged),
        "success_rate": len(wins) / len(judged) if judged else None,
        "wilson_95": [low, high],
        "mean_steps_to_success": (
            sum(result.steps for result in wins) / len(wins) if wins else None
        ),
        "policies": sorted({result.policy for result in judged if result.policy}),
        "judged_by": sorted({result.judged_by for result in judged}),
    }


def seconds_left(results: Sequence[TrialResult], trials: int, elapsed: float) -> float:
    """Return the estimated time of the remaining trials, s; NaN without results.

    Args:
        results: of the trials so far.
        trials: number of unfinished trials, including the current one.
        elapsed: duration of the current trial so far, s.
    """
    if not results or not trials:
        return math.nan if trials else 0.0
    mean = sum(result.seconds for result in results) / len(results)
    return trials * mean - min(elapsed, mean)


def duration_text(seconds: float) -> str:
    """Return a time left as text for people; empty if unknown."""
    if math.isnan(seconds):
        return ""
    if seconds < 90:
        return f"about {math.ceil(seconds)} s left"
    minutes = round(seconds / 60)
    return f"about {minutes} min left" if minutes < 120 else f"about {minutes / 60:.1f} h left"


def summary_line(summary: dict[str, Any]) -> str:
    """Return the results of an evaluation as one line for people."""
    low, high = summary["wilson_95"]
    rate = summary["success_rate"]
    share = "" if rate is None else f" ({100 * rate:.0f} %)"
    aborted = f"; {summary['aborted']} aborted and not counted" if summary["aborted"] else ""
    return (
        f"success {summary['successes']}/{summary['trials']}{share}, 95 % Wilson interval "
        f"{100 * low:.0f} to {100 * high:.0f} %{aborted}"
    )
