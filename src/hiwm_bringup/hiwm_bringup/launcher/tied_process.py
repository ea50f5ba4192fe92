"""Runs a program that stops with the launcher: tied_process.py LAUNCHER_PID COMMAND...

The supervisor runs this file. The kernel sends SIGTERM when the launcher exits, even after kill -9,
and the node closes its files as on any other SIGTERM. posix_spawn has no option for this, and code
between fork and exec is not safe in a process with threads.
"""

import ctypes
import os
import signal
import sys

CANNOT_RUN = 126  # exit code, as of a shell
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def main() -> None:
    """Request the signal, then replace this program; never returns."""
    # Python ignores SIGPIPE and SIGXFSZ, and exec keeps ignored signals ignored.
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    # A closing terminal may send it to the whole group and would kill the node with its files open.
    # The launcher receives it too and then sends SIGINT.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    launcher, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != launcher:  # it exited before prctl
        sys.exit(128 + signal.SIGTERM)
    try:
        os.execv(command[0], command)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(CANNOT_RUN)


if __name__ == "__main__":
    main()
