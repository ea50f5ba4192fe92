"""Leaving the middleware: a crash or a hang in it is not the node's, and changes no exit code.

Fast DDS 2.14 has a race here. Each shared-memory port has a thread that waits on a mutex in the
port's memory. A peer killed while it holds that mutex leaves it locked. The thread notices within
about a second, opens the port anew and unmaps the old one (`SharedMemManager::Listener::
regenerate_port`). Deleting the participant uses the same port without a lock (`Listener::close`):

- the old port is unmapped while `close` waits for its mutex: SIGSEGV in
  `SharedMemChannelResource::release`, seen in a branch manager whose session had lost a node;
- or the new port is put in place after `close` has marked the old one, and the mark is overwritten:
  the thread never ends, and whoever joins it waits for ever.

Both need a peer that died a moment before, which is when a session ends. While a node runs, only
that one thread uses the port, so the race exists at the end alone. The code is the same in Fast DDS
3.6.
"""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

# Ending takes well under a second; the launcher sends SIGTERM 10 s after SIGINT.
LEAVE_S = 5.0
_FATAL = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT)
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int)


@contextmanager
def leaving(code: int, seconds: float = LEAVE_S) -> Iterator[None]:
    """End the process with `code` where the body crashes, or takes longer than `seconds`.

    Only for the very end, in the main thread, with everything of our own closed: nothing is run
    after it, no file is flushed. One line on stderr says what happened, after the traceback of an
    exception that is on its way out.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    trace = traceback.format_exc() if sys.exc_info()[0] else ""

    def leave(number: int) -> None:
        what = "did not end" if number == signal.SIGALRM else f"crashed ({_name(number)})"
        # No print: the interrupted code may hold the lock of stderr's buffer.
        said = f"{trace}the middleware {what} after this node had closed: leaving it\n"
        os.write(2, said.encode())
        os._exit(code)

    # Python's own handlers run between bytecodes, which a crash in C never reaches.
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
