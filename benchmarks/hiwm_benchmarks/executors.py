"""Our executor against those of rclpy: an echo node under each of them.

The node is a process of its own (`executor_echo.py`), under `timeout -k`: one that spins holding
the interpreter's lock takes no notice of SIGTERM. This process sends joint states at 100 Hz, and
then each one as soon as the last one has returned, as a lock-step world does. The latency is the
time from publishing a message to the start of the node's callback.
"""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import JointState

from hiwm_core.errors import DeviceError
from hiwm_core.ros_domains import domain_id
from hiwm_nodes import qos
from hiwm_test_support.nodes import spin_until

from .executor_echo import EXECUTORS, OURS
from .rows import Measured, quantile

RATE_HZ = 100.0
PACED = "100 Hz"
SECONDS = 10.0  # of each load
_IDLE_S = 3.0
# Of one executor: start, idling and both loads, with room for a busy machine.
LONGEST_S = 120
_START_S = 20.0
_LOST_AFTER_S = 1.0
# Full speed stops after this many lost messages in a row.
_MOST_LOST = 3
_JOINTS = [f"joint_{i}" for i in range(14)]


@dataclass
class Exchange:
    """What became of the messages of one load.

    Args:
        sent: number of messages sent.
        arrivals: number of each returned message to its latency, s.
        processor_s: processor time of the node, s.
        seconds: duration, s.
    """

    sent: int = 0
    arrivals: dict[int, float] = field(default_factory=dict)
    processor_s: float = 0.0
    seconds: float = 0.0

    def details(self, name: str) -> dict[str, Any]:
        """Return the numbers of the load; NaN for those that need a message."""
        latencies = [1e3 * latency for latency in self.arrivals.values()]
        received = len(latencies)
        return {
            f"{name}: p50 ms": quantile(latencies, 0.5),
            f"{name}: p99 ms": quantile(latencies, 0.99),
            f"{name}: cpu ms/message":
                1e3 * self.processor_s / received if received else math.nan,
            f"{name}: cores": self.processor_s / self.seconds,
            f"{name}: messages/s": received / self.seconds,
            f"{name}: lost": f"{self.sent - received} of {self.sent}",
        }


class _Peer:
    """Sends the messages, and takes those that return."""

    def __init__(self, context: rclpy.Context) -> None:
        node = rclpy.create_node("peer", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(node)
        self._number = 0
        self._exchange = Exchange()
        self._publisher = node.create_publisher(JointState, "question", qos.TICK)
        self._answers = node.create_subscription(JointState, "answer", self._take, qos.TICK)
        self._node = node

    def connected(self) -> bool:
        """Return whether both topics have both ends."""
        return (
            self._publisher.get_subscription_count() > 0
            and self._node.count_publishers("answer") > 0
        )

    def run(self, echo: psutil.Process, *, paced: bool) -> Exchange:
        """Send for some seconds, and wait for what is on its way."""
        self._exchange = exchange = Exchange()
        before, start = _processor_s(echo), time.perf_counter()
        lost_in_a_row = 0
        while (elapsed := time.perf_counter() - start) < SECONDS:
            if not paced:
                number = self._send()
                arrived = spin_until(
                    self.executor, lambda: number in exchange.arrivals,  # noqa: B023
                    _LOST_AFTER_S,
                )
                lost_in_a_row = 0 if arrived else lost_in_a_row + 1
                if lost_in_a_row >= _MOST_LOST:
                    break
            elif elapsed >= exchange.sent / RATE_HZ:
                self._send()
            else:
                self.executor.spin_once(timeout_sec=exchange.sent / RATE_HZ - elapsed)
        spin_until(
            self.executor, lambda: len(exchange.arrivals) == exchange.sent, _LOST_AFTER_S
        )
        exchange.seconds = time.perf_counter() - start
        exchange.processor_s = _processor_s(echo) - before
        return exchange

    def _send(self) -> int:
        self._number += 1
        self._exchange.sent += 1
        self._publisher.publish(JointState(
            name=_JOINTS, position=[time.perf_counter()], effort=[float(self._number)]
        ))
        return self._number

    def _take(self, message: JointState) -> None:
        # Processes on Linux share the clock of perf_counter.
        latency = message.velocity[0] - message.position[0]
        self._exchange.arrivals[int(message.effort[0])] = latency


def measure_executors(
    launch_file: Path, folder: Path, repeats: int, more: Mapping[str, str]
) -> dict[str, Measured]:
    """Return the processor time per message under our executor, with all numbers of all executors.

    Arguments as in `measure`; none is used.

    Raises:
        DeviceError: our own echo node did not start.
    """
    del launch_file, folder, repeats, more
    details: dict[str, Any] = {}
    for name in EXECUTORS:
        try:
            details.update(_measured(name))
        except DeviceError as error:
            if name == OURS:
                raise
            details[name] = str(error)
    cost = details[f"{OURS}, {PACED}: cpu ms/message"]
    return {"executor": Measured(value=cost, details=details)}


def _measured(name: str) -> dict[str, Any]:
    domain, context = domain_id(), rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    process = subprocess.Popen(
        ["timeout", "-k", "2", str(LONGEST_S), sys.executable, "-m",
         "hiwm_benchmarks.executor_echo", name],
        env={**os.environ, "ROS_DOMAIN_ID": str(domain)}, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        peer = _Peer(context)
        if not spin_until(peer.executor, peer.connected, _START_S):
            raise DeviceError(
                f"the echo node under {name} did not start", where="executors",
                remedy=f"run python -m hiwm_benchmarks.executor_echo {name}",
            )
        (echo,) = psutil.Process(process.pid).children()
        spin_until(peer.executor, lambda: False, 1.0)  # both ends discover each other
        before = _processor_s(echo)
        time.sleep(_IDLE_S)
        idle = (_processor_s(echo) - before) / _IDLE_S
        paced, full = peer.run(echo, paced=True), peer.run(echo, paced=False)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        context.try_shutdown()
    return {
        f"{name}, idle: cores": idle, **paced.details(f"{name}, {PACED}"),
        **full.details(f"{name}, full speed"),
    }


def _processor_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
