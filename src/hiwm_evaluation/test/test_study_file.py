"""Reading a study folder: missing parts stay visible, errors are named."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hiwm_core.errors import ConfigError, HiwmError, StoreError
from hiwm_evaluation.study_file import Backbone, TrainingSet, World, read_evaluation, read_study
from hiwm_test_support.shipped import TASK

sys.path.insert(0, str(Path(__file__).parent))
from synthetic_study import (  # noqa: E402
    CELLS,
    STARTS,
    TRIALS,
    study_data,
    write_evaluation,
    write_study,
)


def test_everything_is_read(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path))
    assert (study.task, study.seeds, study.date) == (TASK.name, (0, 1), "2026-01-02")
    assert [cell.name for cell in study.cells] == list(CELLS)
    cell = study.cells[5]
    assert (cell.backbone, cell.set, cell.seed) == (Backbone.DIFFUSION, TrainingSet.HI_WM, 1)
    stand_in = cell.evaluations[World.STAND_IN]
    assert stand_in.counts == (14, 19)
    assert (stand_in.planned, len(stand_in.results), len(stand_in.judged)) == (TRIALS, 20, 19)
    assert stand_in.results[3].start == STARTS[3] and stand_in.results[3].seed == 1003
    assert [session.branching for session in study.operator] == [True, False]
    assert study.sets[1].mass_by_provenance["human"] == 0.5
    assert study.sets[1].dropped_low_trust == 77
    assert study.world_model["frames"] == 48074


def test_missing_evaluations_leave_their_cell(tmp_path: Path) -> None:
    data = study_data()
    data["cells"][0]["imagination"] = ""
    data["cells"][1]["hardware"] = None
    del data["cells"][2]["hardware"]
    for key in ("operator", "sets", "world_model"):
        del data[key]
    study = read_study(write_study(tmp_path, data))
    assert list(study.cells[0].evaluations) == [World.STAND_IN]
    assert list(study.cells[1].evaluations) == [World.IMAGINATION]
    assert list(study.cells[2].evaluations) == [World.IMAGINATION]
    assert list(study.cells[8].evaluations) == [World.STAND_IN]  # its folder was never created
    assert study.operator == () and study.sets == () and study.world_model == {}


def test_an_evaluation_without_trials_is_missing_and_a_partial_one_is_not(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "started", "hardware", "")
    assert read_evaluation(tmp_path / "started", World.STAND_IN, TASK.name) is None
    write_evaluation(tmp_path / "short", "hardware", "sfs")
    evaluation = read_evaluation(tmp_path / "short", World.STAND_IN, TASK.name)
    assert evaluation is not None and evaluation.counts == (2, 3) and evaluation.planned == TRIALS


def change(data: dict[str, Any], place: tuple[str | int, ...], value: Any) -> None:
    inner: Any = data
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (("cell",), [], r"study.json\): known keys are .*did you mean 'cells'"),
        (("cells",), {}, r"expected a list, found \{\}.*study.json: cells"),
        (("cells", 3, "backbone"), "difusion", r"cells\[3\].*did you mean 'diffusion'"),
        (("cells", 3, "set"), "hiwm", r"cells\[3\].*did you mean 'hi-wm'"),
        (("cells", 3, "seed"), -1, r"'seed' is -1 .*cells\[3\]"),
        (("cells", 3, "seed"), "0", r"expected int, found '0' .*cells\[3\]\.seed"),
        (("cells", 1, "name"), "diffusion-base-s0", "two cells are named 'diffusion-base-s0'"),
        (("cells", 1, "seed"), 0, "both diffusion base of seed 0.*'other'"),
        (("cells", 0), "x", r"cells\[0\]"),
        (("operator", 1, "seconds"), -1.0, r"'seconds' is -1.0 .*operator\[1\]"),
        (("operator", 1, "seconds"), float("inf"), r"inf is not finite .*operator\[1\]\.seconds"),
        (("operator", 0, "succeeded"), 31, r"31 of 30 corrections .*operator\[0\]"),
        (("operator", 0, "branching"), 1, r"expected bool, found 1 .*operator\[0\]\.branching"),
        (("sets", 0, "cell"), "diffusion-bas-s0", r"sets\[0\].*did you mean 'diffusion-base-s0'"),
        (("sets", 0, "frames_by_provenance", "human"), "1", r"\[0\]\.frames_by_provenance\.human"),
    ],
)
def test_a_wrong_field_is_named_with_a_remedy(
    tmp_path: Path, place: tuple[str | int, ...], value: Any, text: str
) -> None:
    data = study_data()
    change(data, place, value)
    with pytest.raises(ConfigError, match=text):
        read_study(write_study(tmp_path, data, {}))


@pytest.mark.parametrize("text", [None, "", "{", "[]"])
def test_a_folder_without_a_study_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "study.json").write_text(text)
    with pytest.raises(HiwmError, match=r"study\.json"):
        read_study(tmp_path)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"world": "imagination"}, "'world' is 'imagination', expected 'hardware'"),
        ({"stand_in": False}, "'stand_in' is False, expected True"),
        ({"task": "hang_coat"}, f"'task' is 'hang_coat', expected {TASK.name!r}"),
    ],
)
def test_an_evaluation_of_something_else_is_refused(
    tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    write_evaluation(tmp_path / "e", "hardware", "sf", **changes)
    with pytest.raises(StoreError, match=rf"{text} .*evaluation\.json"):
        read_evaluation(tmp_path / "e", World.STAND_IN, TASK.name)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda e: (e / "evaluation.json").unlink(), r"evaluation\.json"),
        (lambda e: (e / "evaluation.json").write_text("[]"), r"evaluation\.json"),
        (lambda e: (e / "starts.yaml").unlink(), r"starts\.yaml"),
        (lambda e: (e / "starts.yaml").write_text("a: 1"), r"starts\.yaml"),
        (lambda e: (e / "trials.jsonl").write_text("{}\n"), r"trials\.jsonl line 1"),
    ],
)
def test_a_damaged_evaluation_is_named(
    tmp_path: Path, spoil: Callable[[Path], Any], text: str
) -> None:
    write_evaluation(tmp_path / "e", "hardware", "sf")
    spoil(tmp_path / "e")
    with pytest.raises(StoreError, match=text):
        read_evaluation(tmp_path / "e", World.STAND_IN, TASK.name)


def test_reading_changes_nothing(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "e", "hardware", "sf")
    lines = tmp_path / "e" / "trials.jsonl"
    lines.write_bytes(lines.read_bytes() + b'{"trial": 2, "sta')  # being written
    before = lines.read_bytes()
    evaluation = read_evaluation(tmp_path / "e", World.STAND_IN, TASK.name)
    assert evaluation is not None and evaluation.counts == (1, 2)
    assert lines.read_bytes() == before
    assert json.loads((tmp_path / "e" / "evaluation.json").read_text())["horizon"] == 300
