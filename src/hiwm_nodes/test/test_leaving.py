"""A middleware that crashes or hangs on shutdown neither changes the exit code nor blocks."""

import os
import signal
import subprocess
import sys

import pytest

from hiwm_nodes.leaving import leaving

_PROGRAM = """
import ctypes, os, sys
from hiwm_nodes.leaving import leaving
with leaving({code}, {seconds}):
    {body}
sys.exit({code})
"""
CRASH = "ctypes.PyDLL(None).memset(1, 0, 1)"
ABORT = "ctypes.PyDLL(None).abort()"
HANG = "ctypes.PyDLL(None).pause()"  # keeps the GIL, as rclpy does


def leave(body: str, code: int = 3, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(body=body, code=code, seconds=seconds)],
        capture_output=True, text=True, timeout=60.0, check=False,
    )


@pytest.mark.parametrize(("body", "name"), [(CRASH, "SIGSEGV"), (ABORT, "SIGABRT")])
@pytest.mark.parametrize("code", [0, 3])
def test_a_crash_exits_with_the_nodes_own_code(body: str, name: str, code: int) -> None:
    result = leave(body, code)
    assert result.returncode == code
    assert f"the middleware crashed ({name})" in result.stderr


def test_a_crash_in_a_thread_of_the_middleware_exits_too() -> None:
    """The thread waits for the GIL, which the joining thread keeps: the alarm breaks this."""
    body = (
        "import threading; t = threading.Thread(target=ctypes.CDLL(None).memset, args=(1, 0, 1)); "
        "t.start(); ctypes.PyDLL(None).pause()"
    )
    assert leave(body, seconds=0.5).returncode == 3


def test_a_hang_exits_with_the_nodes_own_code() -> None:
    result = leave(HANG, seconds=0.2)
    assert result.returncode == 3
    assert "the middleware did not shut down" in result.stderr


def test_a_clean_shutdown_prints_nothing() -> None:
    result = leave("pass")
    assert (result.returncode, result.stderr) == (3, "")


def test_signal_handlers_are_restored() -> None:
    """A node may run inside another program, such as these tests and their hang guard."""
    received: list[int] = []
    old = signal.signal(signal.SIGALRM, lambda number, _: received.append(number))
    timer = signal.setitimer(signal.ITIMER_REAL, 50.0)
    try:
        with leaving(0, 40.0):
            assert signal.getitimer(signal.ITIMER_REAL)[0] <= 40.0
        assert 40.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 50.0
        os.kill(os.getpid(), signal.SIGALRM)
        assert received == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, old)
        signal.setitimer(signal.ITIMER_REAL, *timer)
