"""The beginning of every node's program: a signal while it still imports ends it quietly.

Importing torch or rclpy takes seconds. A node that is asked to end in this time has nothing to
close, and its traceback would hide why the graph ends.
"""

import importlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType


def start() -> int:
    """Run the node that this executable is for and return its exit code.

    The executable `lib/PACKAGE/NAME` runs `main` of the module `PACKAGE.NAME_node`.
    """
    # As early as can be: this module imports nothing that takes time.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    executable = Path(sys.argv[0])
    module = importlib.import_module(f"{executable.parent.name}.{executable.name}_node")
    return module.main() or 0


def _end(number: int, _frame: FrameType | None) -> None:
    # Not by an exception: libraries turn it into others of their own in the middle of an import.
    os._exit(128 + number)
