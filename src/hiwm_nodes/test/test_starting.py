"""A node stopped during its imports exits without output; one that has returned exits at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HANG_GUARD_S = 60.0
# An interrupted import: many libraries turn the interrupt into an error of their own.
SLOW = """
import pathlib, time
pathlib.Path("importing").touch()
try:
    time.sleep(60)
except BaseException as error:
    raise ImportError("half imported") from error
"""
QUICK = """
def main():
    print("ran")
    return 3
"""
# What runs when Python ends, as it is used by libraries and nodes.
ENDS = """
import atexit, concurrent.futures, pathlib, tempfile, threading, time
atexit.register(lambda: print("registered"))
temporary = tempfile.TemporaryDirectory(dir=".", prefix="made_")
disk = concurrent.futures.ThreadPoolExecutor(1)

def write():
    time.sleep(0.3)
    pathlib.Path("written").touch()

def main():
    disk.submit(write)
    threading.Thread(target=write).start()
    print("unflushed", end="")
    return 4
"""
# A module whose end takes its time, as torch's does, or crashes.
SLOW_END = """
import os

class Slow:
    def __del__(self):
        os._exit(9)

kept = Slow()

def main():
    return 0
"""


def node(folder: Path, source: str) -> subprocess.Popen[str]:
    """Return the process of an executable like those in lib/PACKAGE/."""
    package = folder / "some_package"
    package.mkdir()
    (package / "some_node.py").write_text(source)
    (package / "some").write_text(
        "import sys\nfrom hiwm_nodes.starting import start\nsys.exit(start())\n"
    )
    path = os.pathsep.join([str(folder), *(entry for entry in sys.path if entry)])
    return subprocess.Popen(
        [sys.executable, str(package / "some")], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path},
    )


def test_the_executable_name_selects_the_node(tmp_path: Path) -> None:
    process = node(tmp_path, QUICK)
    output, errors = process.communicate(timeout=HANG_GUARD_S)
    assert (output, errors, process.returncode) == ("ran\n", "", 3)


def test_a_node_that_returns_finishes_what_runs_at_the_end(tmp_path: Path) -> None:
    process = node(tmp_path, ENDS)
    output, errors = process.communicate(timeout=HANG_GUARD_S)
    assert (output, errors, process.returncode) == ("unflushedregistered\n", "", 4)
    assert (tmp_path / "written").exists()
    assert not list(tmp_path.glob("made_*"))


def test_a_node_that_returns_does_not_take_its_modules_apart(tmp_path: Path) -> None:
    process = node(tmp_path, SLOW_END)
    output, errors = process.communicate(timeout=HANG_GUARD_S)
    assert (output, errors, process.returncode) == ("", "", 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_imports_exits_without_output_and_with_0(
    tmp_path: Path, number: int
) -> None:
    process = node(tmp_path, SLOW)
    deadline = time.monotonic() + HANG_GUARD_S
    while not (tmp_path / "importing").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    output, errors = process.communicate(timeout=HANG_GUARD_S)
    assert (output, errors, process.returncode) == ("", "", 0)


@pytest.mark.parametrize("setup", sorted(Path(__file__).parents[2].glob("hiwm_*/setup.py")),
                         ids=lambda path: path.parent.name)
def test_every_node_is_started_this_way_and_named_as_its_module(setup: Path) -> None:
    modules = (setup.parent / setup.parent.name).glob("*_node.py")
    nodes = {file.stem.removesuffix("_node") for file in modules}
    text = setup.read_text()
    assert {name for name in nodes if f"'{name} = hiwm_nodes.starting:start'" in text} == nodes
