"""A whole session, launched as a user does, with a node of this process that watches it."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import rclpy
from hiwm_interfaces.msg import Tick
from rclpy.executors import SingleThreadedExecutor

from hiwm_core.ros_domains import domain_id
from hiwm_nodes import qos
from hiwm_test_support.nodes import spin_until

ROOT = Path(__file__).resolve().parents[3]
NAMESPACE = "hiwm"
GUARD_S = 240.0  # hang guard: on a busy machine, two imports of torch take a minute


class LaunchedSession:
    """A launcher process that runs a launch file.

    Args:
        folder: session folder.
        arguments: further launch arguments.
        environment: variables added to those of this process.
        launch_file: name of a file in launch/.
        domain: ROS domain of other nodes of the test; a new one if left out.
        terminal: descriptor of a terminal, whose keys the graph's keyboard device reads.
    """

    def __init__(
        self, folder: Path, arguments: dict[str, Any], environment: dict[str, str] | None = None,
        *, launch_file: str = "session.launch.xml", domain: int | None = None,
        terminal: int | None = None,
    ) -> None:
        domain = domain_id() if domain is None else domain
        self._log = folder.with_name(f"{folder.name}_{time.monotonic_ns()}.log")
        settings = {"session_dir": folder, "view": "false", **arguments}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "hiwm_bringup.launcher",
                    str(ROOT / "launch" / launch_file),
                    *(f"{name}:={value}" for name, value in settings.items()),
                ],
                stdin=subprocess.DEVNULL if terminal is None else terminal, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
                preexec_fn=None if terminal is None else (
                    lambda: fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
                ),
                env={
                    **os.environ, "ROS_DOMAIN_ID": str(domain),
                    "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", **(environment or {}),
                },
            )
        self.ticks: list[Tick] = []
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = rclpy.create_node("onlooker", namespace=NAMESPACE, context=self._context)
        self.node.create_subscription(Tick, "tick", self.ticks.append, qos.TICK)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    @property
    def output(self) -> str:
        """Everything that the graph has printed."""
        return self._log.read_text(errors="replace")

    def lines(self, words: str) -> list[str]:
        """Return the lines of output that contain some words."""
        return [line for line in self.output.splitlines() if words in line]

    def until(self, predicate: Callable[[], bool]) -> None:
        """Spin until the predicate holds; fail if the graph exits first."""

        def over() -> bool:
            return predicate() or self.process.poll() is not None

        assert spin_until(self._executor, over, GUARD_S) and predicate(), (
            f"the predicate never held\n{self.output}"
        )

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """Return the answer of a service of the graph."""
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        self.node.destroy_client(client)
        return future.result()

    def kill9(self, executable: str) -> None:
        """Kill one node with SIGKILL, as a crash."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for pid in children.read_text().split():
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if any(word.endswith(f"/{executable}".encode()) for word in words):
                os.kill(int(pid), signal.SIGKILL)
                return
        raise AssertionError(f"{executable} does not run\n{self.output}")

    def wait(self) -> int:
        """Return the exit code of the launcher."""
        return self.process.wait(GUARD_S)

    def __enter__(self) -> Self:
        """Return itself; the graph is starting."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the graph with all its processes."""
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
                self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        finally:
            self.node.destroy_node()
            self._executor.shutdown()
            self._context.try_shutdown()
        if kind is not None:
            print(self.output)
