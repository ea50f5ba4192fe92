"""scripts/demo around its graph: what it hands on, refuses, and shows last."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hiwm_core.tasks import load_task

ROOT = Path(__file__).resolve().parents[3]
TASKS = sorted((ROOT / "config" / "tasks").glob("*.yaml"))
# Stands in for `python`: the launcher says what it was given, and the summary that it was asked.
PYTHON = """#!/bin/bash
case "$2" in
    hiwm_bringup.launcher) printf '%s\\n' "${{@:3}}"; {graph} ;;
    hiwm_core.session_summary) echo "summary of $3" ;;
esac
"""


class Demo:
    """A copy of scripts/demo whose set-up and graph are stubs."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a checkout ü"
        self.python = PYTHON
        (self.root / "scripts").mkdir(parents=True)
        shutil.copy(ROOT / "scripts" / "demo", self.root / "scripts" / "demo")
        self._write("scripts/setup", "#!/bin/sh\necho set up\n")
        self._write("scripts/env.sh", 'PATH="$ROOT/bin:$PATH"\n')

    def _write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *words: str, graph: str = "exit 0") -> subprocess.CompletedProcess[str]:
        self._write("bin/python", self.python.format(graph=graph))
        return subprocess.run(
            [str(self.root / "scripts" / "demo"), *words], cwd=self.root.parent,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
            env=dict(os.environ), start_new_session=True,  # without a terminal
        )


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(tmp_path)


def test_a_session_folder_with_a_blank_and_an_umlaut_reaches_graph_and_summary(demo: Demo) -> None:
    folder = demo.root.parent / "mine ü" / "a session"
    result = demo.run("--session-dir", str(folder), "camera:=a b")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert f"session_dir:={folder}" in lines and "camera:=a b" in lines
    assert lines[-1] == f"summary of {folder}"
    assert f"session_dir:={folder}" in (folder / "log" / "launch.log").read_text()


def test_the_cause_is_shown_after_the_summary(demo: Demo) -> None:
    folder = demo.root.parent / "session"
    graph = (
        f"mkdir -p '{folder}/bags/bag'; echo '[launch] cause: teleop: error: out of range'; exit 1"
    )
    result = demo.run("--session-dir", str(folder), graph=graph)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert lines[-1] == "demo: cause: teleop: error: out of range"
    assert f"summary of {folder}" in lines
    # A later run in the same folder repeats no cause and no summary of an earlier one.
    result = demo.run("--session-dir", str(folder), graph="exit 3")
    assert result.returncode == 3 and "code 3" in result.stdout.splitlines()[-1]
    assert "summary" not in result.stdout


def test_a_graph_that_recorded_nothing_has_no_summary(demo: Demo) -> None:
    result = demo.run(graph="echo 'error: unknown argument: say another' >&2; exit 2")
    assert result.returncode == 2 and "summary" not in result.stdout
    assert result.stdout.splitlines()[-1] == "demo: cause: error: unknown argument: say another"


def test_a_folder_that_cannot_be_made_is_refused_before_anything_starts(demo: Demo) -> None:
    file = demo.root / "file"
    file.touch()
    result = demo.run("--session-dir", str(file / "session"))
    assert result.returncode == 2
    (line,) = result.stdout.splitlines()
    assert str(file) in line and "--session-dir" in line


def test_without_a_terminal_the_operator_drives_in_the_page_alone(demo: Demo) -> None:
    folder = demo.root.parent / "mine"
    result = demo.run("--interactive", "--session-dir", str(folder))
    assert result.returncode == 0
    assert "drive in the console's page" in result.stdout
    given = (folder / "log" / "launch.log").read_text().splitlines()
    assert "device:=none" in given and "console:=true" in given


@pytest.mark.parametrize("words", [(), ("--world", "hardware")])
def test_the_robot_is_the_stand_in_of_the_task(demo: Demo, words: tuple[str, ...]) -> None:
    """Python is the real one here, but for the graph."""
    demo.python = PYTHON + f"""[ "$1" != -c ] || exec {sys.executable} "$@"\n"""
    stand_ins = {path.stem: path.stem for path in TASKS}
    for name in stand_ins:
        known = load_task(name)
        has_one = known.plugin is not None and bool(known.plugin.data_kinds)
        stand_ins[name] = known.stand_in().stand_in_robot if has_one else "standin"
    assert len(set(stand_ins.values())) > 1
    for task, robot in {"": "standin", "nothing": "standin", **stand_ins}.items():
        folder = demo.root.parent / f"session_{task}"
        chosen = ("--task", task) if task else ()
        result = demo.run(*words, *chosen, "--session-dir", str(folder))
        assert f"robot:={robot}" in result.stdout.splitlines(), task
    result = demo.run("--world", "hardware", "--robot", "ur5e", "--session-dir", str(folder))
    assert "robot:=ur5e" in result.stdout.splitlines()
