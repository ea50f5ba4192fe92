"""Retries of tests, and folders that cannot be written.

Only tests marked flaky are retried, each with a reason, also in continuous integration. The summary
counts and names the retries.

    @pytest.mark.flaky(reruns=2, reason="what a busy machine does to it")

The reason is a time limit of the product itself, such as the 0.5 s after which a silent operator
counts as lost: a process without processor time for that long exceeds it. A test whose own wait is
too short needs a longer wait, not this mark.
"""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

from hiwm_core.abandoned_memory import remove_abandoned

# A busy machine stops a process for longer than any deadline of an example.
hypothesis.settings.register_profile("hiwm", deadline=None)
hypothesis.settings.load_profile("hiwm")
# Images of 640x480 need more shared memory than Fast DDS takes by itself, or some are lost. It
# reads this once in a process, at the first node of any test.
os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(Path(__file__).parent / "config/fastdds.xml")
# Programs that tests start can import the test support, too.
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(Path(__file__).parent / "test_support"), os.environ.get("PYTHONPATH", "")])
)

MOUNT_READ_ONLY = (
    'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
)


@pytest.fixture
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], list[str]]:
    """Return a function from a folder to the prefix of a command for which it is read-only.

    The prefix mounts the folder read-only for that command, because permissions do not stop root.
    """

    def words(folder: Path) -> list[str]:
        return ["unshare", "-rm", "sh", "-c", MOUNT_READ_ONLY, "sh", str(folder)]

    probe = [*words(tmp_path_factory.mktemp("probe")), "true"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("this user may make no mounts")
    return words


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remove the shared memory of nodes that were killed before: it can hang any node."""
    if item.get_closest_marker("nodes"):
        remove_abandoned()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a mark without a reason."""
    for item in items:
        for mark in item.iter_markers("flaky"):
            if not str(mark.kwargs.get("reason", "")).strip() or not mark.kwargs.get("reruns"):
                raise pytest.UsageError(
                    f"{item.nodeid} is marked flaky without reruns or a reason (conftest.py): "
                    'write flaky(reruns=2, reason="...")'
                )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report how many tests were retried, and which."""
    retried = Counter(report.nodeid for report in terminalreporter.stats.get("rerun", []))
    terminalreporter.write_line(f"retried tests: {len(retried)}")
    for nodeid, times in retried.items():
        terminalreporter.write_line(f"    {nodeid}: tried {times + 1} times")
