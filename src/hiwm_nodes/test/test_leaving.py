"""A middleware that crashes or hangs at the end changes no exit code and keeps nobody waiting."""

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
HANG = "ctypes.PyDLL(None).pause()"  # the interpreter's lock is kept, as rclpy keeps it


def end(body: str, code: int = 3, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(body=body, code=code, seconds=seconds)],
        capture_output=True, text=True, timeout=60.0, check=False,
    )


@pytest.mark.parametrize(("body", "name"), [(CRASH, "SIGSEGV"), (ABORT, "SIGABRT")])
@pytest.mark.parametrize("code", [0, 3])
def test_a_crash_ends_with_the_nodes_own_code(body: str, name: str, code: int) -> None:
    ended = end(body, code)
    assert ended.returncode == code
    assert f"the middleware crashed ({name})" in ended.stderr


def test_a_crash_in_a_thread_of_the_middleware_ends_too() -> None:
    """The thread waits for the interpreter's lock, which joining it keeps: the alarm ends that."""
    body = (
        "import threading; t = threading.Thread(target=ctypes.CDLL(None).memset, args=(1, 0, 1)); "
        "t.start(); ctypes.PyDLL(None).pause()"
    )
    assert end(body, seconds=0.5).returncode == 3


def test_a_hang_ends_with_the_nodes_own_code() -> None:
    ended = end(HANG, seconds=0.2)
    assert ended.returncode == 3
    assert "the middleware did not end" in ended.stderr


def test_an_orderly_end_says_nothing() -> None:
    ended = end("pass")
    assert (ended.returncode, ended.stderr) == (3, "")


def test_handlers_are_as_they_were_afterwards() -> None:
    """Where a node runs inside another program, such as these tests and their hang guard."""
    heard: list[int] = []
    old = signal.signal(signal.SIGALRM, lambda number, _: heard.append(number))
    timer = signal.setitimer(signal.ITIMER_REAL, 50.0)
    try:
        with leaving(0, 40.0):
            assert signal.getitimer(signal.ITIMER_REAL)[0] <= 40.0
        assert 40.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 50.0
        os.kill(os.getpid(), signal.SIGALRM)
        assert heard == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, old)
        signal.setitimer(signal.ITIMER_REAL, *timer)
