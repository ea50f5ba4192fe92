"""Settings of a study: those of finished blocks, of a half-done one and of the command must agree.

    WORK_FOLDER/settings.json    settings of the first run in a work folder
    RESULTS/BLOCK/block.json     those of a finished block, among its results

Tested by ``test_study_settings.py``.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hiwm_core.atomic_files import replace_file
from hiwm_core.errors import ConfigError, StoreError
from hiwm_core.json_files import read_object
from hiwm_core.tasks import Task
from hiwm_evaluation.study.budgets import Budget
from hiwm_evaluation.study.policies import REPORT_STARTS, SESSION_STARTS, TUNING_STARTS
from hiwm_evaluation.trials import sampled_starts
from hiwm_learning.checkpoints import load_checkpoint

SETTINGS_FILE = "settings.json"
_TRAINED_HERE = "trained by the study"


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Settings of a block."""

    task: str
    budget: Budget
    world: Path  # the world model; the study trains it if there is none
    other_world: Path | None = None  # a second world model, for the agreement of the worlds
    command: str
    software: str
    rate_hz: float  # control rate of the embodiment, for seconds from frames

    def common(self, weights: str) -> dict[str, Any]:
        """Return what must be equal in all blocks; weights are those of corrections, or empty."""
        return {
            "task": self.task, "budget": plain(asdict(self.budget)),
            "world": load_checkpoint(self.world).hash if self.world.is_file() else "",
            "weights": weights,
        }


def plain(value: Any) -> Any:
    """Return a value after a round trip through JSON."""
    return json.loads(json.dumps(value))


def differing(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the names of settings that differ, such as "budget.trials"; unknown ones do not.

    A setting is unknown if one side lacks it, or has an empty text.
    """
    found = []
    for key in (key for key in one if key in other and "" not in (one[key], other[key])):
        if isinstance(one[key], dict) and isinstance(other[key], dict):
            found += differing(one[key], other[key], f"{prefix}{key}.")
        elif one[key] != other[key]:
            found.append(f"{prefix}{key}")
    return found


def require_same_blocks(results: Path, contents: Iterable[Mapping[str, Any]]) -> None:
    """Raise StoreError if the contents of block.json files, or a command, are not of one study."""
    seen: list[Mapping[str, Any]] = []
    for content in contents:
        for before in seen:
            other = differing(_common(before), _common(content))
            if other:
                raise StoreError(
                    f"{before['block']} and {content['block']} differ in {', '.join(other)}",
                    where=str(results),
                    remedy="use the settings of the finished blocks, give another --results, or "
                    "remove the folders of the blocks to run them again",
                )
        seen.append(content)


def _common(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: content[key] for key in ("task", "budget", "world", "weights")}


def require_same_work(folder: Path, settings: StudySettings, *, trains: bool, weights: str) -> None:
    """Check that a work folder was begun with these settings; the first call writes them.

    Args:
        folder: work folder of the study.
        settings: of the command.
        trains: whether the study trains its world model.
        weights: chosen weighting of corrections; empty if not known yet.

    Raises:
        StoreError: it was begun with others, or the file cannot be read.
    """
    path = folder / SETTINGS_FILE
    now = settings.common(weights) | {
        "starts": {"tuning": TUNING_STARTS, "report": REPORT_STARTS, "session": SESSION_STARTS},
        "other_world": load_checkpoint(settings.other_world).hash if settings.other_world else "",
    } | ({"world": _TRAINED_HERE} if trains else {})
    kept: dict[str, Any] = {}
    if path.exists():
        kept = read_object(path, "give another --folder")
    other = differing(kept, now)
    if other:
        listed = ", ".join(f"{key} {_at(kept, key)!r}, now {_at(now, key)!r}" for key in other)
        raise StoreError(
            f"was begun with other settings: {listed}", where=str(folder),
            remedy="restore them to continue it, or give another --folder",
        )
    known = now | {key: value for key, value in kept.items() if value != ""}
    if known != kept:
        replace_file(path, json.dumps(known, indent=1) + "\n")


def require_separate_starts(task: Task, budget: Budget) -> None:
    """Raise ConfigError if choices, corrections and the report would share a start."""
    counts = {
        TUNING_STARTS: budget.trials, REPORT_STARTS: budget.trials,
        SESSION_STARTS: budget.session_starts,
    }
    names = {TUNING_STARTS: "choices", REPORT_STARTS: "the report", SESSION_STARTS: "corrections"}
    used: dict[tuple[float, ...], int] = {}
    for seed, count in counts.items():
        # Some resets draw the start from their own seed, which counts up from the first.
        single = [sampled_starts(task, seed + number, 1)[0] for number in range(count)]
        for start in {*sampled_starts(task, seed, count), *single}:
            other = used.setdefault(start, seed)
            if other != seed:
                text = task.start_text(dict(zip(task.start_names, start, strict=True)))
                raise ConfigError(
                    f"{names[other]} and {names[seed]} share a start: {text or 'the only one'}",
                    where=f"task {task.name}: starts",
                    remedy="widen the ranges of the task's starts",
                )


def _at(content: Mapping[str, Any], key: str) -> Any:
    value: Any = content
    for part in key.split("."):
        value = value[part]
    return value
