"""Becomes another program that ends when the launcher does: tied_process.py LAUNCHER_PID COMMAND...

Run as a file, by the supervisor. The kernel sends SIGTERM when the launcher is gone, even where it
was killed with -9; a node then closes its files as it does on any other SIGTERM. posix_spawn cannot
ask for this, and code between fork and exec is not safe in a process with threads.
"""

import ctypes
import os
import signal
import sys

CANNOT_RUN = 126  # exit code, as a shell's
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def main() -> None:
    """Ask for the signal, then replace this program; never returns."""
    # Python ignores these two, and what is ignored stays ignored in the next program.
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    launcher, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != launcher:  # it ended before it could be watched
        sys.exit(128 + signal.SIGTERM)
    try:
        os.execv(command[0], command)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(CANNOT_RUN)


if __name__ == "__main__":
    main()
