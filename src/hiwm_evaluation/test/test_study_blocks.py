"""Finished blocks are text, are never run again, and are merged if they are of one study."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hiwm_core.errors import ConfigError, StoreError
from hiwm_evaluation.study import __main__ as command
from hiwm_evaluation.study import blocks as blocks_module
from hiwm_evaluation.study.blocks import (
    BLOCK_FILE,
    chosen_weights,
    is_finished,
    write_block,
    write_study,
)
from hiwm_evaluation.study.budgets import BUDGETS
from hiwm_evaluation.study.policies import (
    OTHER_WORLD,
    WORLDS,
    Block,
    blocks,
    checked_cell,
    judged_cells,
    start_cell,
    worlds_of,
)
from hiwm_evaluation.study.settings import StudySettings
from hiwm_evaluation.study_file import TrainingSet, World, read_study

sys.path.insert(0, str(Path(__file__).parent))
from synthetic_study import write_evaluation  # noqa: E402

from hiwm_test_support.shipped import TASK, WORLD_MODEL

ROOT = Path(__file__).parents[3]
BUDGET = replace(BUDGETS["small"], with_more_rollouts=())
SETTINGS = StudySettings(
    task=TASK.name, budget=BUDGET, world=WORLD_MODEL, command="scripts/reproduce", software="1",
    rate_hz=10.0,
)
TUNING, FIRST, SECOND = blocks(BUDGET)[:3]


@pytest.fixture(autouse=True)
def session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces sessions' trees: the operator's work in any of them."""
    def found(path: Path, rate_hz: float, *, branching: bool, on_robot: bool) -> dict[str, Any]:
        return {
            "session": path.name, "operator": "scripted", "branching": branching,
            "seconds": 610.0, "frames": 6100, "corrections": 150, "failure_states": 50,
            "succeeded": 140, "robot_seconds": 1500.0 * on_robot, "resets": 150 * on_robot,
        }

    monkeypatch.setattr(blocks_module, "operator_session", found)
    monkeypatch.setattr(blocks_module, "attended_ticks", lambda path, frames: 4 * frames)


def worked(folder: Path, block: Block, wins: dict[str, int] | None = None) -> Path:
    """Write the outputs of a block's stages to a work folder, and return it."""
    cells = judged_cells(BUDGET, block)
    for cell in {start_cell(block), *cells}:
        frames = {"demonstration": 1740}
        if cell.set == "demonstrations":
            frames["demonstration"] += 12010
        if cell.set in ("hi-wm", "stand-in"):
            frames["human"] = 11990
        if cell.frames:
            frames["human"] = cell.frames + 3
        path = cell.checkpoint(folder).with_suffix(".set.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({
            "frames_by_provenance": frames, "mass_by_provenance": {"demonstration": 1.0},
            "dropped_low_trust": 0,
            "demonstrations": 240 if cell.set == "demonstrations" else 30,
            "failure_states": cell.frames // 300, "continuations": cell.frames // 100,
        }))
    for cell in cells:
        for world in worlds_of(block, other=True):
            ends = "s" * (wins or {}).get(cell.weights, 5)
            write_evaluation(
                cell.evaluation(folder, world),
                "imagination" if world == OTHER_WORLD else world, ends + "f" * (20 - len(ends)),
            )
    checked = checked_cell(BUDGET, block)
    for world in WORLDS if checked else ():
        write_evaluation(checked.check(folder, world), world, "sssssffss")
    return folder


def finished(tmp_path: Path, block: Block, settings: StudySettings = SETTINGS) -> Path:
    return write_block(
        tmp_path / "results", worked(tmp_path / "work", block), block, settings, weights="rac",
        seconds={"data": 1.5},
    )


def test_a_block_leaves_text_only_and_makes_a_study(tmp_path: Path) -> None:
    results = tmp_path / "results"
    finished(tmp_path, FIRST)
    assert is_finished(results, FIRST) and not is_finished(results, SECOND)
    assert {path.suffix for path in results.rglob("*") if path.is_file()} == {
        ".json", ".yaml", ".jsonl",
    }
    missing = write_study(results, BUDGET)
    assert missing == [
        "tune", "act-s0", "diffusion-s1", "act-s1", "agreement-diffusion", "agreement-act",
        "branching-diffusion", "branching-act",
    ]
    study = read_study(results)
    assert {cell.set for cell in study.cells} == set(TrainingSet) - {TrainingSet.OTHER}
    assert all(cell.evaluations[world].counts == (5, 20) for cell in study.cells for world in World)
    costs = {cost.cell: cost for cost in study.costs}
    assert "reads that pose" in study.world_state
    real, imagined, shown, start = (
        costs[f"diffusion-{name}-s0"] for name in ("stand-in", "hi-wm", "demonstrations", "start")
    )
    assert (real.operator_frames, real.learnt_frames, real.resets) == (12200, 11990, 300)
    assert (real.operator_seconds, real.robot_seconds) == (1220.0, 3000.0)
    assert (imagined.operator_frames, imagined.robot_seconds, imagined.resets) == (12200, 0.0, 0)
    assert (shown.operator_frames, shown.operator_seconds, shown.resets) == (12010, 1201.0, 210)
    assert shown.robot_seconds == 1201.0
    assert (start.operator_frames, start.robot_seconds, start.resets) == (0, 0.0, 0)


def test_blocks_are_merged_in_order_whenever_they_were_made(tmp_path: Path) -> None:
    finished(tmp_path, SECOND)
    write_study(tmp_path / "results", BUDGET)
    finished(tmp_path, FIRST)
    write_study(tmp_path / "results", BUDGET)
    study = read_study(tmp_path / "results")
    assert [cell.backbone.value for cell in study.cells] == ["diffusion"] * 6 + ["act"] * 6
    assert len(study.operator) == 8 and study.seeds == (0,)


def test_the_block_of_agreement_has_policies_of_its_own_in_two_world_models(tmp_path: Path) -> None:
    block = blocks(BUDGET)[5]
    assert block.name == "agreement-diffusion"
    write_block(
        tmp_path / "results", worked(tmp_path / "work", block), block,
        replace(SETTINGS, other_world=WORLD_MODEL), weights="", seconds={},
    )
    write_study(tmp_path / "results", BUDGET)
    study = read_study(tmp_path / "results")
    assert [cell.seed for cell in study.cells] == list(range(200, 208))
    assert {cell.set for cell in study.cells} == {TrainingSet.OTHER}
    assert study.cells[0].note == "base policy, 10 demonstrations, 400 steps"
    assert {cell.other_imagined and cell.other_imagined.counts for cell in study.cells} == {(5, 20)}
    assert study.other_world["scores"] and not study.costs
    content = json.loads((tmp_path / "results" / block.name / BLOCK_FILE).read_text())
    other = content | {"block": "agreement-act", "other_world": {"name": "a third one"}}
    (tmp_path / "results" / "agreement-act").mkdir()
    (tmp_path / "results" / "agreement-act" / BLOCK_FILE).write_text(json.dumps(other))
    with pytest.raises(StoreError, match="different second world models"):
        write_study(tmp_path / "results", BUDGET)


def test_the_block_of_branching_lists_costs_with_and_without(tmp_path: Path) -> None:
    block = blocks(BUDGET)[7]
    assert block.name == "branching-diffusion"
    finished(tmp_path, block)
    write_study(tmp_path / "results", BUDGET)
    study = read_study(tmp_path / "results")
    assert not study.cells and len(study.branching) == 7
    base, with_branches, without = study.branching[:3]
    assert (base.corrected, base.operator_frames, base.corrections) == ("", 0, 0)
    assert (with_branches.corrected, without.corrected) == ("branched", "in place")
    assert with_branches.operator_seconds == without.operator_seconds == 150.3
    assert with_branches.session_seconds == 601.2
    assert (with_branches.corrections, with_branches.failure_states) == (15, 5)
    assert all(p.evaluation and p.evaluation.counts == (5, 20) for p in study.branching)
    assert [session.branching for session in study.operator] == [True, False]


def test_a_policy_that_could_not_be_trained_is_named(tmp_path: Path) -> None:
    write_block(
        tmp_path / "results", worked(tmp_path / "work", FIRST), FIRST, SETTINGS, weights="rac",
        seconds={}, lacking={"diffusion-wm-cl-s0": "no rollout succeeded", "other": "not of it"},
    )
    write_study(tmp_path / "results", BUDGET)
    study = read_study(tmp_path / "results")
    assert TrainingSet.WM_CL not in {cell.set for cell in study.cells}
    assert study.remarks[-1] == "There is no policy diffusion-wm-cl-s0: no rollout succeeded"


def test_blocks_of_earlier_versions_are_merged_with_new_ones(tmp_path: Path) -> None:
    """Settings that they do not have are not compared."""
    path = finished(tmp_path, FIRST)
    content = json.loads(path.read_text())
    for name in ("branching", "other_world"):
        del content[name]
    del content["budget"]["agreement"]
    content["budget"]["start_from"] = ""
    path.write_text(json.dumps(content))
    finished(tmp_path, SECOND)
    write_study(tmp_path / "results", BUDGET)
    assert len(read_study(tmp_path / "results").cells) == 12


@pytest.mark.parametrize("key", ["task", "budget", "world", "weights"])
def test_blocks_of_different_studies_are_not_merged(tmp_path: Path, key: str) -> None:
    finished(tmp_path, FIRST)
    path = finished(tmp_path, SECOND)
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: "other"}))
    with pytest.raises(StoreError, match=f"diffusion-s0 and act-s0 differ in {key}"):
        write_study(tmp_path / "results", BUDGET)


def test_weights_are_chosen_by_the_tuning_block(tmp_path: Path) -> None:
    results = tmp_path / "results"
    with pytest.raises(StoreError, match="run the block tune first"):
        chosen_weights(results)
    work = worked(tmp_path / "work", TUNING, {"rac": 6, "sirius": 9})
    write_block(results, work, TUNING, SETTINGS, weights="", seconds={})
    assert chosen_weights(results) == "sirius"
    finished(tmp_path, FIRST)
    with pytest.raises(StoreError, match="tune and diffusion-s0 differ in weights"):
        write_study(results, BUDGET)
    work = worked(tmp_path / "again", TUNING, {"rac": 12, "sirius": 9})
    write_block(results, work, TUNING, SETTINGS, weights="", seconds={})
    write_study(results, BUDGET)
    study = read_study(results)
    assert all(cell.seed < 100 for cell in study.cells)  # its policies are not reported
    assert "are rac" in study.remarks[0] and "rac 12 of 20, sirius 9 of 20" in study.remarks[0]
    assert study.remarks[1:] == tuple(
        f"diffusion-hi-wm-s0, 9 trials {place} also run through the graph: 7 succeeded, 5 of the "
        "same trials without the graph, 7 had equal outcomes."
        for place in ("on the stand-in", "in imagination")
    )


def test_damaged_and_absent_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no block is finished"):
        write_study(tmp_path, BUDGET)
    path = finished(tmp_path, FIRST)
    path.write_text("{")
    with pytest.raises(StoreError, match=r"block\.json.*run it again"):
        write_study(tmp_path / "results", BUDGET)


def test_a_finished_block_is_never_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HIWM_ROOT", str(ROOT))
    monkeypatch.setitem(BUDGETS, "small", BUDGET)  # type: ignore[misc]
    ran: list[str] = []

    class Idle:
        def __init__(self, *_: object) -> None: ...

        def run(self, stages: list[Any]) -> None:
            ran.extend(stage.name for stage in stages)
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "Runner", Idle)
    write_block(
        tmp_path / "results", worked(tmp_path / "work", TUNING), TUNING, SETTINGS, weights="",
        seconds={},
    )
    for block in blocks(BUDGET)[1:4]:
        finished(tmp_path, block)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob(BLOCK_FILE)}
    arguments = [
        TASK.name, "--world-model", str(WORLD_MODEL), "--folder", str(tmp_path / "other"),
        "--results", str(tmp_path / "results"),
    ]
    assert command.main(arguments) == 130
    assert ran and all("s1" in name for name in ran if name.startswith(("act", "diffusion")))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob(BLOCK_FILE)} == before
    ran.clear()
    assert command.main([*arguments, "--block", "diffusion-s0", "--block", "tune"]) == 0
    assert not ran
    assert "not run yet: act-s1, agreement-diffusion" in capsys.readouterr().out
    assert (tmp_path / "results" / "report" / "report.html").is_file()


def test_an_unknown_block_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="use one of tune, diffusion-s0, act-s0"):
        command._requested(["diffusion-s9"], BUDGET)
    assert command.main([TASK.name, "--block", "nothing", "--list"]) == 1
    assert "is not a block" in capsys.readouterr().err
