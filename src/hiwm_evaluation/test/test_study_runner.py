"""A study runs its stages once, continues after interruption, and names failures."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hiwm_core.errors import HiwmError, StoreError
from hiwm_evaluation.study.runner import Runner
from hiwm_evaluation.study.stages import Stage


@pytest.fixture
def said() -> list[str]:
    return []


def python(name: str, code: str, *leaves: Path, **more: object) -> Stage:
    return Stage(name=name, command=(sys.executable, "-c", code), leaves=leaves, **more)


def touching(folder: Path) -> Callable[[str], Stage]:
    """Return stages that add a line to a file of their name."""
    def stage(name: str, *named: Path) -> Stage:
        path = folder / name
        code = f"open({str(path)!r}, 'a').write('x')"
        return Stage(
            name=name, command=(sys.executable, "-c", code, *map(str, named)), leaves=(path,)
        )

    return stage


def test_stages_run_once(tmp_path: Path, said: list[str]) -> None:
    stage = touching(tmp_path)
    stages = [stage("a"), stage("b"), stage("c"), stage("d", tmp_path / "c")]
    Runner(tmp_path / "study", 2, said.append).run(stages[:3])
    runner = Runner(tmp_path / "study", 2, said.append)
    runner.run(stages)
    assert [(tmp_path / name).read_text() for name in "abcd"] == ["x"] * 4
    assert set(runner.seconds()) == set("abcd")
    assert any("3 of 4 stages are done" in line for line in said)


def test_a_stage_waits_only_for_its_inputs(
    tmp_path: Path, said: list[str]
) -> None:
    """Two in parallel: the third runs before the second, which waits for the first."""
    gate = tmp_path / "gate"
    slow = python(
        "slow", "import pathlib, time\n"
        f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.01)\n"
        f"open({str(tmp_path / 'slow')!r}, 'w')", tmp_path / "slow",
    )
    waiting = touching(tmp_path)("waiting", tmp_path / "slow")
    free = touching(tmp_path)("gate")
    Runner(tmp_path / "study", 2, said.append).run([slow, waiting, free])
    told = [line.partition("/3 ")[2].partition(" in ")[0] for line in said]
    assert told.index("gate ...") < told.index("slow done") < told.index("waiting ...")


def test_a_failed_stage_is_named_and_later_ones_do_not_start(
    tmp_path: Path, said: list[str]
) -> None:
    bad = python("bad", "print('no disk'); raise SystemExit(3)")
    with pytest.raises(HiwmError, match="stage bad failed: exit code 3.*no disk") as error:
        Runner(tmp_path / "study", 1, said.append).run([bad, touching(tmp_path)("after")])
    assert "bad.log" in str(error.value)
    assert not (tmp_path / "after").exists()


def test_a_stage_without_output_has_failed(tmp_path: Path, said: list[str]) -> None:
    with pytest.raises(HiwmError, match="left no .*missing"):
        Runner(tmp_path, 1, said.append).run([python("empty", "", tmp_path / "missing")])


def test_a_started_stage_is_resumed(tmp_path: Path, said: list[str]) -> None:
    state, out = tmp_path / "state", tmp_path / "out"
    code = f"import sys; open({str(out)!r}, 'w').write(' '.join(sys.argv[1:]))"
    stage = python("train", code, out, resume=("--resume",), resumes_from=state)
    Runner(tmp_path / "first", 1, said.append).run([stage])
    assert out.read_text() == ""
    state.touch()
    Runner(tmp_path / "second", 1, said.append).run([stage])
    assert out.read_text() == "--resume"


def test_an_optional_stage_may_fail_and_what_needs_it_is_left_out(
    tmp_path: Path, said: list[str]
) -> None:
    stage, left = touching(tmp_path), tmp_path / "policy"
    stages = [
        python("policy", "print('no rollout succeeded'); raise SystemExit(1)", left, optional=True),
        stage("trials", left), stage("after"),
    ]
    for _ in range(2):  # and the next run does not try again
        runner = Runner(tmp_path / "study", 2, said.append)
        runner.run(stages)
        assert runner.lacking() == {"policy": "no rollout succeeded", "trials": "needs policy"}
        assert not (tmp_path / "trials").exists()
        assert (tmp_path / "after").read_text() == "x"
    crashed = python("crashed", "raise SystemExit(3)", tmp_path / "none", optional=True)
    with pytest.raises(HiwmError, match="stage crashed failed: exit code 3"):
        Runner(tmp_path / "study", 2, said.append).run([crashed])


def test_work_that_cannot_be_resumed_restarts(tmp_path: Path, said: list[str]) -> None:
    started = tmp_path / "session"
    started.mkdir()
    (started / "half").touch()
    Runner(tmp_path / "study", 1, said.append).run([python("session", "", cleared=started)])
    assert not started.exists()


def test_an_interruption_stops_running_stages(tmp_path: Path, said: list[str]) -> None:
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

    after = touching(tmp_path)("after")
    stages = [python("long", code), after]
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


def test_a_failure_stops_parallel_stages(tmp_path: Path, said: list[str]) -> None:
    bad = python("bad", "raise SystemExit(3)")
    long = python("long", "import time; time.sleep(600)")
    after = touching(tmp_path)("after")
    with pytest.raises(HiwmError, match="stage bad failed"):
        Runner(tmp_path / "study", 2, said.append).run([long, bad, after])
    assert not (tmp_path / "after").exists()


def test_durations_are_stored_as_json(tmp_path: Path, said: list[str]) -> None:
    stage = touching(tmp_path)("a")
    Runner(tmp_path, 1, said.append).run([stage])
    kept = json.loads((tmp_path / "done" / "a.json").read_text())
    assert kept["command"] == list(stage.command)


@pytest.mark.parametrize("content", [b"", bytes(30), b"[]", b"{}", b'{"seconds": "x"}'])
def test_a_damaged_record_of_a_stage_is_named(
    tmp_path: Path, said: list[str], content: bytes
) -> None:
    runner = Runner(tmp_path, 1, said.append)
    (tmp_path / "done" / "train.json").write_bytes(content)
    for durations in (runner.seconds, runner.lacking):
        with pytest.raises(StoreError, match="runs this stage again") as caught:
            durations()
        assert "train.json" in str(caught.value)
