"""Every task in the config folders conforms, and no package but its own knows it.

A task in a user's own config folder is tested with the shipped ones:
HIWM_CONFIG_DIR=FOLDER scripts/test -k conform
"""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hiwm_core.config_files import config_directories
from hiwm_core.embodiment import load_embodiment
from hiwm_core.task_plugin import registered_plugins
from hiwm_core.tasks import load_task
from hiwm_learning.policies.planning import load_planner
from hiwm_test_support.shipped import MODELS
from hiwm_test_support.task_conformance import check_task

ROOT = Path(__file__).resolve().parents[3]
TASKS = sorted({
    path.stem for folder in config_directories() for path in (folder / "tasks").glob("*.yaml")
})

# A user's own plug-in needs no policy.
SHIPPED = [name for name in registered_plugins() if (ROOT / f"config/tasks/{name}.yaml").exists()]


@pytest.mark.parametrize("name", TASKS)
def test_tasks_conform(name: str) -> None:
    check_task(name)


def test_every_plugin_has_a_task() -> None:
    assert {load_task(name).plugin_name for name in TASKS} - {""} == set(registered_plugins())


@pytest.mark.parametrize("name", SHIPPED)
def test_the_policy_that_the_demo_uses_is_shipped_and_plans_for_the_task(name: str) -> None:
    task = load_task(name)
    embodiment = load_embodiment(task.embodiment)
    planner = load_planner(MODELS / f"policy_{name}.safetensors")
    assert planner.info.embodiment_hash == embodiment.hash
    steps = planner.observation_steps
    images = {
        camera.name: np.zeros((steps, camera.height, camera.width, 3), np.uint8)
        for camera in embodiment.cameras
    }
    proprio = np.zeros((steps, planner.proprio_dim), np.float32)
    assert planner.plan(images, proprio, (0,)).shape == (planner.horizon, len(embodiment.actions))


@pytest.mark.parametrize("name", registered_plugins())
def test_only_its_package_and_its_files_name_a_task(name: str) -> None:
    words = name.replace("_", ".?")
    found = subprocess.run(
        ["git", "grep", "-inE", words, "--", "src", "launch", "scripts", "docker",
         f":!src/hiwm_tasks/{name}"],
        cwd=ROOT, capture_output=True, text=True,
    )
    assert found.stdout == ""


def test_no_package_imports_a_task() -> None:
    packages = {path.parent.name for path in ROOT.glob("src/hiwm_tasks/*/*/__init__.py")}
    assert packages
    pattern = re.compile(rf"^\s*(?:from|import)\s+({'|'.join(packages)})\b", re.MULTILINE)
    guilty = [
        str(path.relative_to(ROOT)) for folder in ("src", "test_support", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if not path.is_relative_to(ROOT / "src" / "hiwm_tasks") and pattern.search(path.read_text())
    ]
    assert guilty == []
