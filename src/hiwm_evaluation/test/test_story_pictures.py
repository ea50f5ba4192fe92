"""Pictures show the failure before a rollback, its correction, and a trial that is now solved."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from hiwm_core.branch_records import BranchKind, SessionRecord, TickRecord
from hiwm_core.branch_store import BranchStore
from hiwm_core.control import Source
from hiwm_core.errors import StoreError
from hiwm_core.palette import SOURCE_COLOURS
from hiwm_evaluation import story_pictures
from hiwm_evaluation.story_pictures import Shot, correction_strips, strip, write_story
from hiwm_evaluation.study.budgets import BUDGETS
from hiwm_evaluation.trials import Outcome, TrialFolder, TrialResult
from hiwm_test_support.exchange_data import record, segment
from hiwm_test_support.shipped import TASK

FAILED, CORRECTED = "ep_0001-b000", "ep_0001-b001"


def session(folder: Path, label: str = "success") -> Path:
    """Write a session: the policy acts for 20 steps, step 12 is continued by the operator."""
    sources = {FAILED: [Source.POLICY] * 20, CORRECTED: [Source.HUMAN] * 9}
    record(folder, [
        segment(FAILED, sources[FAILED]),
        segment(CORRECTED, sources[CORRECTED], first_step=12, epoch=2, parent=FAILED, fork_step=12),
    ])
    store = BranchStore(folder / "tree.sqlite")
    store.open_session(SessionRecord(session_id="session", world="imagination"))
    for branch, first in ((FAILED, 0), (CORRECTED, 12)):
        if branch == CORRECTED:
            store.plan_branch(CORRECTED, f"{FAILED}:12", BranchKind.ROLLBACK)
            store.begin_branch(CORRECTED, 2)
        for place, source in enumerate([Source.NONE, *sources[branch]]):
            if branch == CORRECTED and place == 0:
                continue  # the node that it starts from
            store.add_tick(TickRecord(
                stamp_ns=1000 * (first + place) + len(branch), epoch=1 + (branch == CORRECTED),
                step=first + place, episode_id="ep_0001", branch_id=branch, source=source,
                action=(0.0,) * 4, device="dev", state_id=f"{branch}-{place}",
            ))
    store.label(CORRECTED, label)
    store.close()
    return folder


def test_a_failure_is_shown_up_to_the_rollback_and_its_correction_from_there(
    tmp_path: Path,
) -> None:
    (failed, before), (corrected, after) = correction_strips(session(tmp_path))
    assert "rolled back to step 12" in failed and "9 steps of the operator" in corrected
    assert [shot.text for shot in before] == [
        "step 0, nobody (start, hold)", "step 5, policy", "step 10, policy", "step 15, policy",
        "step 20, policy",
    ]
    assert after[0].text.startswith("step 12") and after[-1].text == "step 21, operator"
    assert after[-1].colour == SOURCE_COLOURS[Source.HUMAN]


def test_a_session_without_a_successful_correction_has_no_story(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no successful correction"):
        correction_strips(session(tmp_path, label="failure"))


def test_a_strip_frames_its_pictures_in_the_colour_of_who_acted() -> None:
    image = np.full((96, 96, 3), (10, 200, 30), np.uint8)
    page = np.asarray(strip("A title", [Shot(image=image, text="step 1", colour=(180, 92, 0))] * 3))
    assert page.shape == (248, 632, 3)
    assert tuple(page[27, 9]) == (180, 92, 0) and tuple(page[120, 100]) == (10, 200, 30)
    assert (page[:20] < 128).any()  # the title


def test_the_story_of_a_block_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    session(folder / "sessions" / "act-s0-hi-wm-1")
    budget = json.loads(json.dumps(asdict(BUDGETS["small"])))
    (folder / "settings.json").write_text(json.dumps({"task": TASK.name, "budget": budget}))
    for name, ends in (("start", "ffff"), ("hi-wm", "fsfs")):
        cell = f"act-{name}-s0"
        trials = TrialFolder(
            folder / "evaluations" / f"{cell}-hardware" / cell / "standin",
            {"world": "hardware", "stand_in": True, "task": TASK.name, "task_hash": "",
             "horizon": 300, "success_threshold": 0.85},
            [(0.01 * n, 0.02, 0.5) for n in range(4)], TASK.start_names,
        )
        for number, end in enumerate(ends):
            trials.append(TrialResult(
                trial=number, start=(0.01 * number, 0.02, 0.5), seed=43_000 + number,
                outcome=Outcome.SUCCESS if end == "s" else Outcome.FAILURE, reason="", steps=9,
                best=0.9, judged_by="ground truth", policy="p", episode_id="", seconds=1.0,
            ))
        trials.close()
    repeated = []

    def run(task, policy, trial, images):
        repeated.append((policy.name, trial.trial))
        images += [{"top": np.zeros((96, 96, 3), np.uint8)}] * 7
        return trial if trial.trial == 3 else replace(trial, outcome=Outcome.FAILURE)

    monkeypatch.setattr(story_pictures, "_repeated", run)
    paths = write_story(folder, "act-s0", tmp_path / "out")
    assert [path.name for path in paths] == ["failure.png", "correction.png", "corrected.png"]
    assert all(path.stat().st_size > 1000 for path in paths)
    # The first success does not repeat.
    assert repeated == [("act-hi-wm-s0.safetensors", 1), ("act-hi-wm-s0.safetensors", 3)]
    monkeypatch.setattr(story_pictures, "_repeated", lambda task, policy, trial, images: replace(
        trial, outcome=Outcome.FAILURE
    ))
    with pytest.raises(StoreError, match="none of its successes"):
        write_story(folder, "act-s0", tmp_path / "out")
    with pytest.raises(StoreError, match="use one of diffusion-s0, act-s0"):
        write_story(folder, "tune", tmp_path / "out")
    with pytest.raises(StoreError, match="work folder of a study"):
        write_story(tmp_path, "act-s0", tmp_path / "out")
