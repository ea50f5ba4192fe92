"""Shutting down the middleware: a crash or hang in it does not change the node's exit code.

Fast DDS 2.14 has a race on shutdown. Each shared-memory port has a thread that waits on a mutex in
the port's memory. A peer killed while it holds that mutex leaves it locked. The thread notices
within about a second, reopens the port and unmaps the old one (`SharedMemManager::Listener::
regenerate_port`). Deleting the participant uses the same port without a lock (`Listener::close`).
Two things can go wrong:

- The old port is unmapped while `close` waits for its mutex: SIGSEGV in
  `SharedMemChannelResource::release`, seen in a branch manager whose session had lost a node.
- The new port replaces the old one after `close` has marked the old one, so the mark is lost: the
  thread never exits, and joining it hangs.

Both need a peer that died shortly before, which is typical when a session ends. While a node runs,
only that one thread uses the port, so the race exists only on shutdown. The code is the same in
Fast DDS 3.6.
"""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

# Shutdown takes well under a second; the launcher sends SIGTERM 10 s after SIGINT.
LEAVE_S = 5.0
_FATAL = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT)
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int)


@contextmanager
def leaving(code: int, seconds: float = LEAVE_S) -> Iterator[None]:
    """Exit the process with `code` if the body crashes or takes longer than `seconds`.

    Use it last, in the main thread, with all of our own resources closed: no code runs after it
    and no file is flushed. It prints one line on stderr, after the traceback of an exception that
    is propagating.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    trace = traceback.format_exc() if sys.exc_info()[0] else ""

    def leave(number: int) -> None:
        what = "did not shut down" if number == signal.SIGALRM else f"crashed ({_name(number)})"
        # No print: the interrupted code may hold the lock of stderr's buffer.
        text = f"{trace}the middleware {what} after this node had closed: exiting without it\n"
        os.write(2, text.encode())
        os._exit(code)

    # Python runs its handlers between bytecodes, which a crash in C never reaches.
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    libc.signal.restype = ctypes.c_void_p
    handler = _Handler(leave)
    before = {
        number: libc.signal(number, ctypes.cast(handler, ctypes.c_void_p))
        for number in (*_FATAL, signal.SIGALRM)
    }
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        for number, old in before.items():
            libc.signal(number, old)


def _name(number: int) -> str:
    return signal.Signals(number).name
