"""Real nodes in their own processes, for tests."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from ament_index_python.packages import get_package_prefix
from rclpy.executors import Executor


def spin_until(
    executor: Executor, predicate: Callable[[], bool], timeout_s: float = 30.0
) -> bool:
    """Spin until the predicate is true; return False if the hang guard expires first."""
    deadline = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > deadline:
            return False
        executor.spin_once(timeout_sec=0.05)
    return True


def wait_until(predicate: Callable[[], bool], timeout_s: float = 120.0) -> None:
    """Wait until the predicate is true; the timeout is a hang guard."""
    deadline = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < deadline, "the hang guard expired"
        time.sleep(0.05)


class NodeProcess:
    """An installed executable in its own process, stopped on leaving the context.

    Args:
        package: package that installs the executable.
        executable: its name in lib/<package>.
        domain: ROS domain id.
        parameters: node parameters.
        namespace: namespace the node runs in.
        name: node name; empty keeps the node's default.
    """

    def __init__(
        self, package: str, executable: str, *, domain: int,
        parameters: Mapping[str, Any] | None = None, namespace: str = "", name: str = "",
    ) -> None:
        path = Path(get_package_prefix(package)) / "lib" / package / executable
        command = [str(path), "--ros-args"]
        if namespace:
            command += ["-r", f"__ns:=/{namespace.strip('/')}"]
        if name:
            command += ["-r", f"__node:={name}"]
        if parameters:
            with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as file:
                yaml.safe_dump({"/**": {"ros__parameters": dict(parameters)}}, file)
            command += ["--params-file", file.name]
        # Stays open as long as the process may print.
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        environment = {
            **os.environ, "ROS_DOMAIN_ID": str(domain), "PYTHONUNBUFFERED": "1",
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        }
        self.process = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env=environment,
        )

    @property
    def output(self) -> str:
        """Everything printed so far."""
        self._log.flush()
        self._log.seek(0)
        return self._log.read()

    def kill9(self) -> None:
        """Kill the process, as in a crash."""
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> None:
        """Send SIGINT, as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def wait(self, timeout_s: float = 30.0) -> int:
        """Return the exit code; raises subprocess.TimeoutExpired if the process does not exit."""
        return self.process.wait(timeout_s)

    def __enter__(self) -> Self:
        """Return itself; the process is already running."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the process: SIGINT first, then SIGKILL."""
        if self.process.poll() is None:
            self.interrupt()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill9()
        if kind is not None:
            print(self.output)
