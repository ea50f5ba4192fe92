"""A whole session, launched as a user launches it, with this process looking on."""

import os
import signal
import subprocess
import sys
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
GUARD_S = 240.0  # hang guard: a busy machine takes a minute to import torch twice


class LaunchedSession:
    """The launcher as a process of its own over launch/session.launch.xml.

    Args:
        folder: session folder.
        arguments: launch arguments besides it.
        environment: variables besides this process's own.
    """

    def __init__(
        self, folder: Path, arguments: dict[str, Any], environment: dict[str, str] | None = None
    ) -> None:
        domain = domain_id()
        self._log = folder.with_name(f"{folder.name}_{time.monotonic_ns()}.log")
        settings = {"session_dir": folder, "view": "false", **arguments}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "hiwm_bringup.launcher",
                    str(ROOT / "launch" / "session.launch.xml"),
                    *(f"{name}:={value}" for name, value in settings.items()),
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
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
        """Everything the graph printed so far."""
        return self._log.read_text(errors="replace")

    def lines(self, words: str) -> list[str]:
        """Return the lines of the output that hold some words."""
        return [line for line in self.output.splitlines() if words in line]

    def until(self, predicate: Callable[[], bool]) -> None:
        """Look on until the predicate holds, while the graph runs."""

        def over() -> bool:
            return predicate() or self.process.poll() is not None

        assert spin_until(self._executor, over, GUARD_S) and predicate(), (
            f"waited in vain\n{self.output}"
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
        """End one node as a crash would."""
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
        """Return itself; the graph already starts."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the graph and every process of it."""
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
