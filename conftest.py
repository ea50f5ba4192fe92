"""Retries: only tests marked flaky get them, each mark says why, and the summary counts them.

    @pytest.mark.flaky(reruns=2, reason="what a busy machine does to it")

The reason is a limit in seconds that the product itself keeps, such as the 0.5 s after which a
silent operator is lost: a process that gets no processor for so long is past it. A test that waits
too short a time gets a longer wait, not this mark.
"""

import os
from collections import Counter
from pathlib import Path

import pytest

# Programs that tests start find the test support, too.
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(Path(__file__).parent / "test_support"), os.environ.get("PYTHONPATH", "")])
)


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
    """Say how many tests were retried, and which."""
    retried = Counter(report.nodeid for report in terminalreporter.stats.get("rerun", []))
    terminalreporter.write_line(f"retried tests: {len(retried)}")
    for nodeid, times in retried.items():
        terminalreporter.write_line(f"    {nodeid}: tried {times + 1} times")
