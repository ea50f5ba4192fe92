"""The page "Add a task", tried word for word: its files are written and its commands run.

Everything is read from the page: whatever it changes, this test tries.
"""

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from hiwm_core.tasks import TaskFile

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "add_a_task.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
# A block that begins with a comment of one path is that file.
FILES = {
    match[1]: content for _, content in BLOCKS
    if (match := re.match(r"(?:#|<!--) ([\w/]+\.\w+)(?: -->)?\n", content))
}
SHELL = [line for language, content in BLOCKS if language == "sh" for line in content.splitlines()]
(PRINTED,) = (content for language, content in BLOCKS if not language)
TASKS = [Path(path).stem for path in FILES if path.startswith("tasks/")]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Write every file of the page, and return an environment in which they are found.

    The page's own commands make the folders. Instead of scripts/setup, which builds for minutes,
    setup.py registers the package in place, as colcon's build with links does.
    """
    folder = tmp_path_factory.mktemp("reader")
    config = folder / "my_config"  # where ~/my_config leads
    making = [line for line in SHELL if line.startswith(("export ", "mkdir ", "touch "))]
    subprocess.run(
        ["bash", "-ec", "\n".join(making)], cwd=folder, check=True,
        env={**os.environ, "HOME": str(folder)},
    )
    for path, content in FILES.items():
        ((config if path.startswith("tasks/") else folder) / path).write_text(content)
    (setup,) = folder.rglob("setup.py")
    package = setup.parent
    subprocess.run(
        [sys.executable, "setup.py", "-q", "egg_info"], cwd=package, check=True,
        capture_output=True,
    )
    return {
        **os.environ, "HIWM_CONFIG_DIR": str(config),
        "PYTHONPATH": os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")]),
    }


def test_the_page_s_checks_succeed_and_print_what_it_shows(followed: dict[str, str]) -> None:
    lines = [line for line in SHELL if "check_task" in line]
    assert len(lines) == len(TASKS) == 2
    printed = [
        subprocess.run(
            line, shell=True, cwd=ROOT, env=followed, capture_output=True, text=True, check=True
        ).stdout
        for line in lines
    ]
    assert printed[0] == PRINTED
    assert "stand-in: demonstration" in printed[1]


def test_the_page_s_tasks_conform(followed: dict[str, str]) -> None:
    """The page's own command, for both tasks in one run."""
    (line,) = (line for line in SHELL if "pytest" in line)
    both = line.replace(f'and {TASKS[-1]}"', f'and ({" or ".join(TASKS)})"')
    assert both != line
    ended = subprocess.run(
        both, shell=True, cwd=ROOT, env=followed, capture_output=True, text=True
    )
    assert ended.returncode == 0 and "3 passed" in ended.stdout, ended.stdout + ended.stderr


def test_every_key_of_a_task_file_is_explained() -> None:
    for entry in fields(TaskFile):
        assert f"`{entry.name}" in PAGE, entry.name
