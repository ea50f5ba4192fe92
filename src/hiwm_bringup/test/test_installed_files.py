"""What the build installs of the folders in the repository root."""

import runpy
import shutil
from pathlib import Path

import pytest
import setuptools

SETUP = Path(__file__).parents[1] / "setup.py"


def test_a_training_that_goes_on_beside_a_model_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(SETUP, tmp_path)
    for name in (
        "launch/session.launch.xml", "config/tasks/mine.yaml", "models/world.safetensors",
        "models/world.work/robot.pt", "models/world.work/deeper/more.pt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    given: dict[str, list[tuple[str, list[str]]]] = {}
    monkeypatch.setattr(setuptools, "setup", lambda **named: given.update(named))
    runpy.run_path(str(tmp_path / "setup.py"))
    files = [file for _, files in given["data_files"] for file in files]
    assert {"launch/session.launch.xml", "config/tasks/mine.yaml", "models/world.safetensors"} \
        <= set(files)
    assert not [file for file in files if ".work" in file]
