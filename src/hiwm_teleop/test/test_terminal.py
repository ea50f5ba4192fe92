"""Keys are read from a real pseudo-terminal, and the terminal is restored."""

import os
import pty
import signal
import subprocess
import sys
import termios
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_core.errors import DeviceError
from hiwm_teleop.terminal import Terminal, split_keys


@pytest.fixture
def terminal_pair():
    ours, theirs = pty.openpty()
    yield ours, os.ttyname(theirs), theirs
    os.close(ours)
    os.close(theirs)


def typed_within(terminal, count, patience_s=10.0):
    keys, deadline = [], time.monotonic() + patience_s
    while len(keys) < count and time.monotonic() < deadline:
        keys += terminal.typed()
    return keys


def test_single_keys_without_enter_and_without_echo(terminal_pair):
    ours, name, theirs = terminal_pair
    before = termios.tcgetattr(theirs)
    terminal = Terminal(name)
    terminal.open()
    assert not termios.tcgetattr(theirs)[3] & (termios.ECHO | termios.ICANON)
    os.write(ours, b"w\x1b[A1t")
    assert typed_within(terminal, 3) == ["w", "1", "t"]
    assert terminal.typed() == []
    terminal.close()
    assert termios.tcgetattr(theirs) == before
    terminal.close()  # a second call is harmless


def test_a_file_is_no_terminal(tmp_path):
    path = tmp_path / "keys"
    path.write_text("w")
    with pytest.raises(DeviceError, match="not a terminal"):
        Terminal(str(path)).open()


def test_no_terminal_names_device_and_remedy(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(DeviceError, match="keyboard.*demo --interactive"):
        Terminal("/dev/nothing-here").open()


def test_a_terminal_that_goes_away_is_an_error():
    ours, theirs = pty.openpty()
    terminal = Terminal(os.ttyname(theirs))
    terminal.open()
    os.close(theirs)
    os.close(ours)
    with pytest.raises(DeviceError, match="was closed"):
        terminal.typed()
    terminal.close()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT, None])
def test_a_crash_restores_the_terminal(terminal_pair, number):
    ours, name, theirs = terminal_pair
    before = termios.tcgetattr(theirs)
    body = (
        "import sys, time\n"
        "from hiwm_teleop.terminal import Terminal\n"
        f"t = Terminal({name!r}); t.open()\n"
        "print('open', flush=True)\n"
        + ("raise RuntimeError('crash')" if number is None else "time.sleep(60)")
    )
    child = subprocess.Popen(
        [sys.executable, "-c", body], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"open\n"
    if number is not None:
        child.send_signal(number)
    assert child.wait(30) != 0
    child.stdout.close()
    assert termios.tcgetattr(theirs) == before
    os.set_blocking(ours, False)


@given(st.text(st.sampled_from("wasd19 ?"), max_size=10))
def test_split_at_any_place_gives_the_same_keys(plain):
    data = b"\x1b[A".join(key.encode() for key in plain)
    whole, rest = split_keys(data)
    assert (whole, rest) == (list(plain), b"")
    for cut in range(len(data)):
        first, pending = split_keys(data[:cut])
        if pending == b"" and data[:cut].endswith(b"\x1b"):
            continue  # a bare escape looks like the start of a sequence
        second, _ = split_keys(pending + data[cut:])
        assert first + second == list(plain)
