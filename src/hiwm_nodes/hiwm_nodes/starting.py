"""The entry point of every node: a signal during imports stops it without output.

Importing torch or rclpy takes seconds. A node stopped in this time has nothing to close, and its
traceback would hide why the graph stops. It exits with 0, as a running node does: `ros2 launch`
reports any other code as a crash.
"""

import importlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType


def start() -> int:
    """Run this executable's node and return its exit code.

    The executable `lib/PACKAGE/NAME` runs `main` of the module `PACKAGE.NAME_node`.
    """
    # As early as possible: this module has no slow imports.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit)
    executable = Path(sys.argv[0])
    module = importlib.import_module(f"{executable.parent.name}.{executable.name}_node")
    return module.main() or 0


def _exit(_number: int, _frame: FrameType | None) -> None:
    # No exception: a library interrupted during an import may turn it into its own.
    os._exit(0)
