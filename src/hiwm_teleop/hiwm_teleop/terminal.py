"""A terminal read key by key, and restored on close.

It is also restored at interpreter exit and on signals that would skip both; a shell left without
echo is worse than a lost session.
"""

import atexit
import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import tty
from types import FrameType
from typing import Any

from hiwm_core.errors import DeviceError

# Signals that terminate a process without its exit handlers. The node handles SIGINT and SIGTERM.
_SIGNALS = (signal.SIGHUP, signal.SIGQUIT)
_REMEDY = (
    "start the session from a terminal (./scripts/demo --interactive), or use device:=none and "
    "drive in the console, or device:=scripted"
)


class Terminal:
    """The terminal a person types in.

    Args:
        path: device to open; "/dev/tty" is the terminal the session was started from.
    """

    def __init__(self, path: str = "/dev/tty") -> None:
        self._path = path
        self._fd = -1
        self._own = False
        self._saved: list[Any] | None = None
        self._foreground: int | None = None
        self._pending = b""

    def open(self) -> None:
        """Open it for single keys without echo.

        Raises:
            DeviceError: no terminal.
        """
        try:
            self._fd, self._own = os.open(self._path, os.O_RDWR | os.O_NOCTTY), True
        except OSError as error:
            if not sys.stdin or not sys.stdin.isatty():
                raise DeviceError(
                    f"no terminal to read keys from: {error.strerror}",
                    where=f"device keyboard, {self._path} and stdin", remedy=_REMEDY,
                ) from None
            self._fd, self._own = sys.stdin.fileno(), False
        try:
            self._saved = termios.tcgetattr(self._fd)
        except termios.error:
            self._close_own()
            raise DeviceError(
                f"{self._path} is not a terminal", where="device keyboard", remedy=_REMEDY
            ) from None
        atexit.register(self.close)
        for number in _SIGNALS:
            with contextlib.suppress(ValueError):  # not in the main thread: atexit must suffice
                signal.signal(number, self._on_signal)
        self._come_to_front()
        tty.setcbreak(self._fd)

    def close(self) -> None:
        """Restore the terminal."""
        if self._saved is not None:
            with contextlib.suppress(termios.error, OSError):
                self.write("\r\n")
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)
            self._saved = None
            if self._foreground is not None:
                self._set_foreground(self._foreground)
        self._close_own()
        atexit.unregister(self.close)

    def typed(self) -> list[str]:
        """Return the keys typed since the last call, without waiting.

        Escape sequences (arrows, function keys) are discarded whole.

        Raises:
            DeviceError: the terminal was closed.
        """
        data = self._pending
        while select.select([self._fd], [], [], 0)[0]:
            try:
                chunk = os.read(self._fd, 256)
            except OSError:
                chunk = b""
            if not chunk:
                raise DeviceError(
                    "the terminal was closed", where="device keyboard", remedy=_REMEDY
                )
            data += chunk
        keys, self._pending = split_keys(data)
        return keys

    def write(self, text: str) -> None:
        """Write text to the terminal."""
        with contextlib.suppress(OSError):
            os.write(self._fd, text.encode())

    @property
    def columns(self) -> int:
        """Width in characters."""
        try:
            return os.get_terminal_size(self._fd).columns or 80
        except OSError:
            return shutil.get_terminal_size().columns

    def _come_to_front(self) -> None:
        """Become the terminal's foreground group, in case a launcher gave us our own group."""
        try:
            front = os.tcgetpgrp(self._fd)
        except OSError:
            return  # not our controlling terminal: it has no foreground for us
        if front != os.getpgrp() and self._set_foreground(os.getpgrp()):
            self._foreground = front

    def _set_foreground(self, group: int) -> bool:
        # SIGTTOU stops a background process that touches its terminal, unless it is ignored.
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            os.tcsetpgrp(self._fd, group)
        except OSError:
            return False
        finally:
            signal.signal(signal.SIGTTOU, before)
        return True

    def _close_own(self) -> None:
        if self._own and self._fd >= 0:
            os.close(self._fd)
        self._fd, self._own = -1, False

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.close()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def split_keys(data: bytes) -> tuple[list[str], bytes]:
    """Return the keys in a terminal's input, and the start of an incomplete escape sequence."""
    keys: list[str] = []
    place = 0
    while place < len(data):
        byte = data[place]
        if byte != 0x1B:
            if 0x20 <= byte < 0x7F:
                keys.append(chr(byte))
            place += 1
            continue
        end = place + 1
        if end < len(data) and data[end] in b"[O":
            end += 1
            # Parameters and intermediates, then one final byte.
            while end < len(data) and not 0x40 <= data[end] <= 0x7E:
                end += 1
            if end >= len(data):
                return keys, data[place:]
            end += 1
        place = end
    return keys, b""
