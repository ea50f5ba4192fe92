"""ROS finds a folder to log into where HOME is not set or cannot be used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOW = (
    "import os; from hiwm_nodes.log_folder import provide_log_folder; provide_log_folder();"
    "print(os.environ.get('ROS_LOG_DIR', 'its own'))"
)


def shown(tmp_path: Path, **variables: str) -> str:
    """Return the folder that a process with these variables is pointed at."""
    environment = {
        name: value for name, value in os.environ.items()
        if name not in ("HOME", "ROS_HOME", "ROS_LOG_DIR")
    }
    return subprocess.run(
        [sys.executable, "-c", SHOW], env={**environment, "TMPDIR": str(tmp_path), **variables},
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout.strip()


def test_without_a_home_the_log_goes_to_a_temporary_folder(tmp_path: Path) -> None:
    assert Path(shown(tmp_path)).parent == tmp_path


@pytest.mark.parametrize("name", ["HOME", "ROS_HOME", "ROS_LOG_DIR"])
def test_a_folder_that_cannot_be_written_is_replaced_and_another_is_kept(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    assert Path(shown(tmp_path, **{name: str(tmp_path / "file" / "x")})).parent == tmp_path
    good = str(tmp_path / "folder")
    assert shown(tmp_path, **{name: good}) == (good if name == "ROS_LOG_DIR" else "its own")


@pytest.mark.nodes
def test_ros_starts_without_a_home(tmp_path: Path) -> None:
    start = (
        "from rclpy.node import Node; from hiwm_nodes.running import NodeEnd, run\n"
        "def make():\n    node = Node('sample'); raise NodeEnd(5)\n"
        "raise SystemExit(run(make))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    result = subprocess.run(
        [sys.executable, "-c", start], env={**environment, "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, timeout=60,
    )
    assert (result.returncode, result.stderr) == (5, "")
