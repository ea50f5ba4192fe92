"""`scripts/rollout` in separate processes: folders, continuing after a kill, refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from hiwm_core.config_files import find_config
from hiwm_core.embodiment import load_embodiment
from hiwm_core.session_lock import tool_lock
from hiwm_evaluation.rollout.command_line import main
from hiwm_evaluation.study_file import World, read_evaluation
from hiwm_evaluation.trials import read_results
from hiwm_learning.checkpoints import load_checkpoint, save_checkpoint
from hiwm_test_support.arms import two_arms
from hiwm_test_support.layered_worlds import write_drawn_checkpoint
from hiwm_test_support.policies import write_untrained_policy
from hiwm_test_support.shipped import TASK


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "policy": write_untrained_policy(folder, load_embodiment(TASK.embodiment)),
        "world": write_drawn_checkpoint(folder),
        "headless": write_drawn_checkpoint(
            folder, name="headless.safetensors", heads=("trust",)
        ),
    }


def words(models: dict[str, Path], output: Path, **changes: Any) -> list[str]:
    """Return a command line; both policies are one file."""
    if changes.get("world-checkpoint") == "headless.safetensors":
        changes["world-checkpoint"] = models["headless"]
    options = {
        "task": TASK.name, "world-checkpoint": models["world"], "output": output, "trials": 5,
        "horizon": 6, "processes": 2, "batch": 2, **changes,
    }
    policies = [f"--policy={name}={models['policy']}" for name in ("a", "b")]
    return [*policies, *(f"--{name}={value}" for name, value in options.items())]


def lines(output: Path, name: str) -> list[dict[str, Any]]:
    content = (output / name / "imagination" / "trials.jsonl").read_text()
    return [json.loads(line) for line in content.splitlines()]


def test_it_writes_the_evaluator_s_files_and_continues(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(models, tmp_path)) == 0
    first = read_evaluation(tmp_path / "a" / "imagination", World.IMAGINATION, TASK.name)
    assert first is not None and first.conditions["made_by"] == "rollout"
    assert [result.trial for result in first.results] == list(range(5)) and first.planned == 5
    summary = json.loads((tmp_path / "b" / "imagination" / "results.json").read_text())
    assert summary["trials"] == 5
    # A kill left half a line of the second policy.
    path = tmp_path / "b" / "imagination" / "trials.jsonl"
    before = read_results(path)
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:2]) + whole[2][:20])
    capsys.readouterr()
    assert main(words(models, tmp_path)) == 0
    assert "3 trials of a, b; 7 of 10 are already done" in capsys.readouterr().out
    assert len(lines(tmp_path, "a")) == len(lines(tmp_path, "b")) == 5
    again = read_results(path)
    assert {n: (r.outcome, r.steps, r.best) for n, r in again.items()} == {
        n: (r.outcome, r.steps, r.best) for n, r in before.items()
    }


URDF = """<robot name="pushers"><link name="table"/>
<link name="x"/><link name="left_pusher"/>
<joint name="left_x_joint" type="prismatic"><parent link="table"/><child link="x"/>
<axis xyz="1 0 0"/><limit lower="-1" upper="1" effort="1" velocity="1"/></joint>
<joint name="left_y_joint" type="prismatic"><parent link="x"/><child link="left_pusher"/>
<axis xyz="0 1 0"/><limit lower="-1" upper="1" effort="1" velocity="1"/></joint>
<link name="right_x"/><link name="right_pusher"/>
<joint name="right_x_joint" type="prismatic"><parent link="table"/><child link="right_x"/>
<axis xyz="1 0 0"/><limit lower="-1" upper="1" effort="1" velocity="1"/></joint>
<joint name="right_y_joint" type="prismatic"><parent link="right_x"/><child link="right_pusher"/>
<axis xyz="0 1 0"/><limit lower="-1" upper="1" effort="1" velocity="1"/></joint></robot>"""


def test_a_users_robot_bounds_the_actions_by_its_workspace(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The robot is two files outside the checkout, found by its name."""
    monkeypatch.setenv("HIWM_CONFIG_DIR", str(tmp_path / "config"))
    folder = tmp_path / "config" / "robots"
    folder.mkdir(parents=True)
    (folder / "pushers.urdf").write_text(URDF)
    robot = yaml.safe_load(find_config("robots", "standin").read_text())
    # A box that no pusher fits into: whatever leads away from the start is held.
    robot["workspace"] = {
        "urdf": "pushers.urdf", "frame": "table", "links": ["left_pusher", "right_pusher"],
        "box": {"lower": [9.0, 9.0, 9.0], "upper": [9.1, 9.1, 9.1]},
    }
    robot["name"] = "pushers"
    (folder / "pushers.yaml").write_text(yaml.safe_dump(robot))
    once = {"processes": 1, "trials": 1, "horizon": 3}
    best = {}
    for name, more in (("free", {}), ("held", {"robot": "pushers"})):
        assert main(words(models, tmp_path / name, **once, **more)) == 0
        best[name] = lines(tmp_path / name, "a")[0]["best"]
    assert best["free"] != best["held"]
    conditions = json.loads((tmp_path / "held/a/imagination/evaluation.json").read_text())
    assert conditions["workspace"] == "pushers"
    assert main(words(models, tmp_path / "none", robot="standin", **once)) == 1
    assert "robot standin has no workspace (--robot)" in capsys.readouterr().err


@pytest.fixture(scope="module")
def done(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one trial of each policy."""
    output = tmp_path_factory.mktemp("done")
    assert main(words(models, output, trials=1)) == 0
    return output


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"start-seed": 1}, "other conditions: seed 0, now 1"),
    ({"batch": 3}, "other conditions: batch 2, now 3"),
    ({"trials": 0}, "--trials"),
    ({"world-checkpoint": "headless.safetensors"}, "success head was never trained"),
    ({"world-checkpoint": "none.safetensors"}, "none.safetensors"),
    ({"policy": "a=none.safetensors"}, "two policies are named 'a'"),
])
def test_errors_are_reported_in_one_line(
    models: dict[str, Path], done: Path, capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any], complaint: str,
) -> None:
    assert main(words(models, done, **{"trials": 1, **changes})) == 1
    assert complaint in capsys.readouterr().err


def test_a_policy_of_another_control_period_is_refused(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = load_checkpoint(models["policy"])
    slow = tmp_path / "slow.safetensors"
    save_checkpoint(slow, replace(checkpoint.info, period_s=0.2), checkpoint.weights)
    assert main([*words(models, tmp_path / "out"), f"--policy={slow}"]) == 1
    assert "at 0.200 s (5 Hz), but the world runs at 0.100 s" in capsys.readouterr().err


def test_another_policy_in_the_folder_is_refused(
    models: dict[str, Path], done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = done / "a" / "imagination" / "trials.jsonl"
    path.write_text(path.read_text().replace("random-", "other-"))
    assert main(words(models, done, trials=2)) == 1
    assert "contains trials of other-" in capsys.readouterr().err


def test_a_second_command_into_one_folder_is_refused(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tool_lock(tmp_path, "rollout"):
        assert main(words(models, tmp_path)) == 1
    assert f"pid {os.getpid()}" in capsys.readouterr().err


def test_an_interrupt_leaves_complete_results(models: dict[str, Path], tmp_path: Path) -> None:
    command = words(models, tmp_path, trials=40, horizon=100)
    process = subprocess.Popen(
        [sys.executable, "-m", "hiwm_evaluation.rollout", *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )
    results = tmp_path / "a" / "imagination" / "trials.jsonl"
    while process.poll() is None and not (results.exists() and results.read_bytes()):
        time.sleep(0.02)
    # Like a terminal: to every process of the command.
    os.killpg(process.pid, signal.SIGINT)
    output, complaints = process.communicate(timeout=60)
    assert process.returncode == 130, output + complaints
    assert "the same command continues" in complaints and "Traceback" not in complaints
    done = len(read_results(results))
    assert json.loads(results.with_name("results.json").read_text())["trials"] == done >= 1


@pytest.mark.parametrize("where", ["foreign", "file", "equals", "contains", "inside"])
def test_an_output_that_is_not_its_own_is_refused_and_left_as_it_is(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("years")
    (tmp_path / "file").write_text("years")
    output = {
        "foreign": tmp_path / "foreign", "file": tmp_path / "file", "equals": models["policy"],
        "contains": models["policy"].parent, "inside": models["policy"] / "results",
    }[where]
    everything = [*tmp_path.rglob("*"), *models["policy"].parent.rglob("*")]
    assert main(words(models, output)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and str(output) in line
    assert [*tmp_path.rglob("*"), *models["policy"].parent.rglob("*")] == everything


def test_a_policy_of_another_embodiment_is_refused(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_untrained_policy(tmp_path, two_arms())
    for world in ("standin", "imagination"):
        given = words(models, tmp_path / world, world=world)
        assert main([*given, f"--policy=other={other}"]) == 1
        assert "trained for embodiment" in capsys.readouterr().err
        assert not list(tmp_path.glob(f"{world}/*/*/trials.jsonl"))
