"""A study runs its stages once, goes on where it was, and names what failed."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hiwm_bringup.study.budgets import BUDGETS
from hiwm_bringup.study.runner import Runner
from hiwm_bringup.study.stages import Plan, Stage, cells
from hiwm_core.errors import HiwmError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def said() -> list[str]:
    return []


def python(name: str, code: str, *leaves: Path, **more: object) -> Stage:
    return Stage(name=name, command=(sys.executable, "-c", code), leaves=leaves, **more)


def touching(folder: Path) -> Callable[[str], Stage]:
    """Return stages that add a line to a file of their name."""
    def stage(name: str, together: str = "") -> Stage:
        path = folder / name
        return python(name, f"open({str(path)!r}, 'a').write('x')", path, together=together)

    return stage


def test_stages_run_once(tmp_path: Path, said: list[str]) -> None:
    stage = touching(tmp_path)
    stages = [stage("a"), stage("b", "pair"), stage("c", "pair"), stage("d")]
    Runner(tmp_path / "study", 2, said.append).run(stages[:3])
    runner = Runner(tmp_path / "study", 2, said.append)
    runner.run(stages)
    assert [(tmp_path / name).read_text() for name in "abcd"] == ["x"] * 4
    assert set(runner.seconds()) == set("abcd")
    assert any("3 of 4 stages are done" in line for line in said)


def test_a_failed_stage_is_named_and_what_comes_after_waits(
    tmp_path: Path, said: list[str]
) -> None:
    bad = python("bad", "print('no disk'); raise SystemExit(3)")
    with pytest.raises(HiwmError, match="stage bad failed: exit code 3.*no disk") as error:
        Runner(tmp_path / "study", 1, said.append).run([bad, touching(tmp_path)("after")])
    assert "bad.log" in str(error.value)
    assert not (tmp_path / "after").exists()


def test_a_stage_that_leaves_nothing_has_failed(tmp_path: Path, said: list[str]) -> None:
    with pytest.raises(HiwmError, match="left no .*missing"):
        Runner(tmp_path, 1, said.append).run([python("empty", "", tmp_path / "missing")])


def test_a_begun_stage_is_told_to_resume(tmp_path: Path, said: list[str]) -> None:
    state, out = tmp_path / "state", tmp_path / "out"
    code = f"import sys; open({str(out)!r}, 'w').write(' '.join(sys.argv[1:]))"
    stage = python("train", code, out, resume=("--resume",), resumes_from=state)
    Runner(tmp_path / "first", 1, said.append).run([stage])
    assert out.read_text() == ""
    state.touch()
    Runner(tmp_path / "second", 1, said.append).run([stage])
    assert out.read_text() == "--resume"


def test_what_cannot_be_resumed_begins_anew(tmp_path: Path, said: list[str]) -> None:
    begun = tmp_path / "session"
    begun.mkdir()
    (begun / "half").touch()
    Runner(tmp_path / "study", 1, said.append).run([python("session", "", anew=begun)])
    assert not begun.exists()


def test_an_interruption_ends_what_runs(tmp_path: Path, said: list[str]) -> None:
    started = tmp_path / "started"
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))\n"
        f"open({str(started)!r}, 'w')\n"
        f"try: time.sleep(600)\nfinally: open({str(tmp_path / 'ended')!r}, 'w')"
    )

    def interrupt() -> None:
        while not started.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    after = touching(tmp_path)("after", "pair")
    stages = [python("long", code, together="pair"), after]
    threading.Thread(target=interrupt, daemon=True).start()
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Runner(tmp_path / "study", 1, said.append).run(stages)
    finally:
        signal.signal(signal.SIGINT, kept)
    assert (tmp_path / "ended").exists()
    assert not (tmp_path / "after").exists()
    assert not list((tmp_path / "study" / "done").iterdir())


def test_a_failure_ends_its_group(tmp_path: Path, said: list[str]) -> None:
    bad = python("bad", "raise SystemExit(3)", together="pair")
    long = python("long", "import time; time.sleep(600)", together="pair")
    after = touching(tmp_path)("after", "pair")
    with pytest.raises(HiwmError, match="stage bad failed"):
        Runner(tmp_path / "study", 2, said.append).run([long, bad, after])
    assert not (tmp_path / "after").exists()


@pytest.mark.parametrize("budget", sorted(BUDGETS))
def test_a_plan_makes_before_it_uses(budget: str, tmp_path: Path) -> None:
    """Every path of the study that a command names was left by a stage before it, or is its own."""
    made: list[Path] = []
    stages = Plan(ROOT, tmp_path, "push_t", BUDGETS[budget]).stages()
    assert len({stage.name for stage in stages}) == len(stages)
    for stage in stages:
        own = [*stage.leaves, *(path.parent for path in stage.leaves)]
        for word in stage.command:
            value = Path(word.rpartition(":=")[2])
            if not value.is_relative_to(tmp_path) or value == tmp_path / "sets":
                continue
            known = [*made, *own]
            assert any(
                path == value or path.is_relative_to(value) for path in known
            ), (stage.name, word)
        made += stage.leaves


def test_there_are_enough_policies_for_a_correlation() -> None:
    for budget in BUDGETS.values():
        names = [cell.name for cell in cells(budget)]
        assert len(set(names)) == len(names) >= 8
        apart = {(cell.backbone, cell.seed) for cell in cells(budget)}
        assert len(apart) >= 8  # trained from nothing, each with a seed of its own
        keys = [(c.backbone, c.set, c.seed) for c in cells(budget) if c.set != "other"]
        assert len(set(keys)) == len(keys)


def test_a_later_round_corrects_what_the_round_before_left(tmp_path: Path) -> None:
    budget = BUDGETS["small"]
    assert budget.rounds == 2
    stages = {
        stage.name: stage.command for stage in Plan(ROOT, tmp_path, "push_t", budget).stages()
    }
    policy = tmp_path / "policies" / "act-hi-wm-s1-round1.safetensors"
    assert f"policy_checkpoint:={policy}" in stages["act-s1-corrections-2"]
    last = stages["post-act-hi-wm-s1"]
    for session in ("act-s1-corrections", "act-s1-corrections-2"):
        assert str(tmp_path / "sessions" / session) in last
    # Every set is learnt from the same base, to the same number of steps.
    for name in ("base", "wm-cl", "hi-wm"):
        command = stages[f"post-act-{name}-s1"]
        assert str(tmp_path / "policies" / "act-start-s1.safetensors") in command
        assert command[command.index("--steps") + 1] == str(budget.post_steps)


def test_launch_arguments_are_declared(tmp_path: Path) -> None:
    for stage in Plan(ROOT, tmp_path, "push_t", BUDGETS["small"]).stages():
        files = [Path(word) for word in stage.command if word.endswith(".launch.xml")]
        for file in files:
            text = file.read_text()
            for word in stage.command:
                name, given, _ = word.partition(":=")
                assert not given or f'<arg name="{name}"' in text, (stage.name, word)


def test_seconds_are_kept_as_json(tmp_path: Path, said: list[str]) -> None:
    stage = touching(tmp_path)("a")
    Runner(tmp_path, 1, said.append).run([stage])
    kept = json.loads((tmp_path / "done" / "a.json").read_text())
    assert kept["command"] == list(stage.command)
