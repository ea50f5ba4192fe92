"""trials.jsonl: one line for each trial of an evaluation, written when the trial ends.

A trial has several lines if a person corrected its verdict, or if it was aborted and run again.
The evaluation continues from this file, and post-training, start files and success heads use it.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from hiwm_core.errors import StoreError, reason

T = TypeVar("T")

# In the folder of a session.
TRIALS_FILE = Path("evaluation") / "trials.jsonl"


def trial_lines(path: Path) -> dict[int, dict[str, Any]]:
    """Return the newest line of each trial by the trial's number; see `read_lines`."""
    return read_lines(path, lambda trial: trial)


def read_lines(path: Path, convert: Callable[[dict[str, Any]], T]) -> dict[int, T]:
    """Return the newest line of each trial, converted, by the trial's number.

    A last line without its end is left out: it is being written, or its writer was killed, and then
    the trial is run again.

    Args:
        path: of the file.
        convert: gets the fields of a line; raises ValueError or TypeError if they are wrong.

    Raises:
        StoreError: the file cannot be read, or a complete line is not a trial.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(
            f"cannot be read: {reason(error)}", where=str(path), remedy="restore it from a copy"
        ) from error
    found = {}
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            trial = json.loads(line)
            _check(trial)
            found[trial["trial"]] = convert(trial)
        except (ValueError, TypeError, RecursionError) as error:
            raise StoreError(
                f"is not a trial's result: {error}", where=f"{path} line {number}",
                remedy="fix or remove the line; a trial without a line is run again",
            ) from error
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "trial": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "start": lambda value: isinstance(value, list) and all(map(_is_number, value)),
    "outcome": lambda value: isinstance(value, str),
    "episode_id": lambda value: isinstance(value, str),
}


def _check(trial: object) -> None:
    """Raise ValueError unless an object has the fields that every reader needs."""
    if not isinstance(trial, dict):
        raise ValueError("it is not an object")
    for name, is_valid in _CHECKS.items():
        if name not in trial:
            raise ValueError(f"{name} is missing")
        if not is_valid(trial[name]):
            raise ValueError(f"{name} is {trial[name]!r}")
