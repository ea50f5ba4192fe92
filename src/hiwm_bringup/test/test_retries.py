"""Which tests `scripts/test` retries: the project's conftest.py, run on small suites."""

import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).resolve().parents[3] / "conftest.py"
SUITE = """
import pytest
tries = []

@pytest.mark.flaky({mark})
def test_marked():
    tries.append(1)
    assert len(tries) == {passes_at}

def test_unmarked():
    tries.append(1)
    assert len(tries) < 0
"""


def report(folder: Path, mark: str, passes_at: int = 3) -> str:
    shutil.copy(CONFTEST, folder)
    (folder / "test_suite.py").write_text(SUITE.format(mark=mark, passes_at=passes_at))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
        cwd=folder,
    ).stdout


def test_only_a_marked_test_is_retried_and_the_summary_names_it(tmp_path: Path) -> None:
    shown = report(tmp_path, 'reruns=2, reason="the device is lost after 0.2 s"')
    assert "retried tests: 1\n    test_suite.py::test_marked: tried 3 times" in shown
    assert "1 failed, 1 passed, 2 rerun" in shown


def test_the_summary_reports_that_nothing_was_retried(tmp_path: Path) -> None:
    shown = report(tmp_path, 'reruns=2, reason="the device is lost after 0.2 s"', passes_at=1)
    assert "retried tests: 0" in shown


def test_a_mark_without_a_reason_is_refused(tmp_path: Path) -> None:
    shown = report(tmp_path, "reruns=2")
    assert "test_marked is marked flaky without reruns or a reason" in shown
