"""The entry point of every node.

A signal during imports stops a node without output. Importing torch or rclpy takes seconds. A node
stopped in this time has nothing to close, and its traceback would hide why the graph stops. It
exits with 0, as a running node does: `ros2 launch` reports any other code as a crash.

A node that has returned exits at once. Python would first take each module of torch apart, which
takes over half a second, and a crash on the way would change the exit code.
"""

import atexit
import contextlib
import gc
import importlib
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import NoReturn


def start() -> NoReturn:
    """Run this executable's node and exit with its code.

    The executable `lib/PACKAGE/NAME` runs `main` of the module `PACKAGE.NAME_node`.
    """
    # As early as possible: this module has no slow imports.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit)
    executable = Path(sys.argv[0])
    # Imports create many objects that stay. Looking for garbage among them takes a sixth of
    # their time, and more in every later collection.
    gc.disable()
    module = importlib.import_module(f"{executable.parent.name}.{executable.name}_node")
    gc.freeze()
    gc.enable()
    _leave(module.main() or 0)


def _leave(code: int) -> NoReturn:
    """Exit as Python does, with everything but the end of each module."""
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for threads
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads it, or it is closed
            stream.flush()
    os._exit(code)


def _exit(_number: int, _frame: FrameType | None) -> None:
    # No exception: a library interrupted during an import may turn it into its own.
    os._exit(0)
