"""The graph to measure, started by the launcher in its own ROS domain."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from hiwm_core.errors import HiwmError

END_S = 20.0  # the recorder closes its bag meanwhile


class Graph:
    """`launch/session.launch.xml` with arguments; leaving the context stops it.

    Args:
        launch_file: the launch file.
        arguments: name and value of launch arguments.
        domain: ROS domain id.
        log: file for its output.
        variables: environment variables, added to those of this process.
    """

    def __init__(
        self, launch_file: Path, arguments: Mapping[str, str], domain: int, log: Path,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        words = [f"{name}:={value}" for name, value in arguments.items()]
        environment = {
            **os.environ, "ROS_DOMAIN_ID": str(domain), "PYTHONUNBUFFERED": "1",
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", **(variables or {}),
        }
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hiwm_bringup.launcher", str(launch_file), *words],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=environment, start_new_session=True,
            )

    def check(self) -> None:
        """Raise HiwmError, with the last line of output, if the graph has exited."""
        code = self._process.poll()
        if code is not None:
            lines = self.log.read_text().strip().splitlines() or ["nothing"]
            raise HiwmError(
                f"the graph exited with code {code}; its last line: {lines[-1]}",
                where=str(self.log), remedy="read that file",
            )

    def ended(self) -> bool:
        """Return whether the graph has exited by itself."""
        return self._process.poll() is not None

    def processor_time(self) -> dict[str, float]:
        """Return the processor time that each node has used so far, s."""
        nodes: dict[str, float] = {}
        for process in psutil.Process(self._process.pid).children(recursive=True):
            try:
                times = process.cpu_times()
                nodes[_node_name(process)] = times.user + times.system
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return nodes

    def memory(self) -> tuple[float, float, dict[str, float]]:
        """Return resident and proportional memory of all nodes, GB, and PSS by node, MB.

        Resident memory counts a shared library in every node; the proportional set size (PSS)
        counts it once.
        """
        resident, proportional = self.memory_by_node()
        return sum(resident.values()) / 1e3, sum(proportional.values()) / 1e3, proportional

    def memory_by_node(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return resident and proportional memory of each node, MB."""
        resident: dict[str, float] = {}
        proportional: dict[str, float] = {}
        for process in psutil.Process(self._process.pid).children(recursive=True):
            try:
                full = process.memory_full_info()
                name = _node_name(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
            resident[name] = resident.get(name, 0.0) + full.rss / 1e6
            proportional[name] = proportional.get(name, 0.0) + full.pss / 1e6
        return resident, proportional

    def __enter__(self) -> Self:
        """Return itself; the graph is starting."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Interrupt the graph; kill it if it does not exit."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()


def _node_name(process: psutil.Process) -> str:
    """Return the name of a node's executable."""
    words = process.cmdline()
    return Path(words[1]).name if len(words) > 1 else process.name()
