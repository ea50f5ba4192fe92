"""Starting and stopping every node the same way."""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from hiwm_core.errors import HiwmError
from hiwm_nodes.executor import KeptWaitSetExecutor
from hiwm_nodes.leaving import leaving
from hiwm_nodes.log_folder import provide_log_folder

_LISTENER_NICE = 5
# A signal this long after the first is a person who insists. An earlier one is a duplicate, as when
# a terminal and a launcher both forward one Ctrl-C.
_INSISTS_S = 1.0


class NodeEnd(Exception):  # noqa: N818 - an outcome, not an error
    """Raised inside a callback to stop the node with an exit code."""

    def __init__(self, code: int = 0, message: str = "") -> None:
        self.code = code
        super().__init__(message)


def run(
    make_node: Callable[[], Node], arguments: Sequence[str] | None = None, *,
    listener: bool = False,
) -> int:
    """Run a node until SIGINT, SIGTERM or `NodeEnd`, and return its exit code.

    No tick waits for a `listener`: on a busy machine it yields to the nodes on the tick path.

    The node's `close()`, if any, is called last, while the context is still valid, so that a
    recorder can close its bag. A signal lets the current callback finish, so no message is taken
    and then lost; a second signal a second later interrupts it. A `HiwmError` becomes one line on
    stderr and exit code 1. A crash of the middleware after the node has closed does not change the
    exit code (see `hiwm_nodes.leaving`).
    """
    provide_log_folder()
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)

    interrupted = False
    spinning: KeptWaitSetExecutor | None = None
    first_signal_at: float | None = None

    def interrupt(_signal: int, _frame: object) -> None:
        nonlocal interrupted, first_signal_at
        if spinning is not None:
            now = time.monotonic()
            first_signal_at = now if first_signal_at is None else first_signal_at
            if now - first_signal_at < _INSISTS_S:
                spinning.stop_soon()
                return
        interrupted = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    node: Node | None = None
    code = 1
    try:
        node = make_node()
        if listener:  # only now: a node that starts late misses the first ticks
            os.nice(_LISTENER_NICE)
        executor = KeptWaitSetExecutor()
        executor.add_node(node)
        spinning = executor
        executor.spin()
        code = 0
    except (KeyboardInterrupt, ExternalShutdownException):
        code = 0
    except NodeEnd as end:
        code = end.code
        if str(end):
            print(str(end), flush=True)
    except HiwmError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
    except Exception:
        # A library interrupted inside its own code, such as a message conversion or an import, may
        # raise another error instead.
        if not interrupted:
            raise
        code = 0
    finally:
        # A second Ctrl-C must not interrupt the closing of files.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if node is not None:
            close = getattr(node, "close", None)
            if callable(close):
                try:
                    close()
                except HiwmError as error:
                    print(f"error: {error}", file=sys.stderr, flush=True)
                    code = code or 1
        with leaving(code):
            if node is not None:
                node.destroy_node()
            if rclpy.ok():
                rclpy.shutdown()
    return code
