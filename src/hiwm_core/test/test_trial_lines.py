"""trials.jsonl is read up to its last complete line; a damaged line is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from hiwm_core.errors import StoreError
from hiwm_core.trial_lines import trial_lines

TRIAL: dict[str, Any] = {
    "trial": 0, "start": [0.1, 2], "outcome": "success", "episode_id": "ep_0001", "more": None,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trials.jsonl"


def text(*trials: object) -> str:
    return "".join(json.dumps(trial) + "\n" for trial in trials)


def test_the_last_line_of_a_trial_counts(path: Path) -> None:
    path.write_text(text(TRIAL, TRIAL | {"trial": 1}, TRIAL | {"outcome": "failure"}))
    assert {key: trial["outcome"] for key, trial in trial_lines(path).items()} == {
        0: "failure", 1: "success",
    }


@pytest.mark.parametrize("kept", [1, 30, len(text(TRIAL)) - 1])
def test_a_line_that_a_kill_cut_short_is_left_out(path: Path, kept: int) -> None:
    path.write_text(text(TRIAL) + text(TRIAL | {"trial": 1})[:kept])
    assert list(trial_lines(path)) == [0]


@pytest.mark.parametrize(("line", "reason"), [
    ("", "Expecting value"), ("\x00" * 40, "Expecting value"), ("[1]", "not an object"),
    ("null", "not an object"), ("{}", "trial is missing"),
    (json.dumps(TRIAL | {"trial": True}), "trial is True"),
    (json.dumps(TRIAL | {"start": [0.1, "x"]}), "start is"),
    (json.dumps(TRIAL | {"start": None}), "start is None"),
    (json.dumps(TRIAL | {"outcome": 1}), "outcome is 1"),
    (json.dumps(TRIAL | {"episode_id": []}), "episode_id is"),
    ("[" * 100_000, "recursion"),
])
def test_a_damaged_line_is_named(path: Path, line: str, reason: str) -> None:
    path.write_text(text(TRIAL) + line + "\n" + text(TRIAL))
    with pytest.raises(StoreError, match=reason) as caught:
        trial_lines(path)
    assert "trials.jsonl line 2" in str(caught.value)


def test_bytes_that_are_no_text_are_named(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(StoreError, match="line 1"):
        trial_lines(path)


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        trial_lines(path)
