"""The way from a device to joint targets, through inverse kinematics.

`measure_inverse_kinematics` times only the computation. `measure_tip_commands` times the way from
a gamepad's message to the operator's command, through the teleop node, with a robot of two joint
arms that is always at its target. Times end when this process receives the message.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rclpy.publisher import Publisher
from sensor_msgs.msg import Joy

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import HiwmError
from hiwm_core.tips import TipMotion, Tips, TipStep
from hiwm_nodes import qos
from hiwm_test_support.following_robot import Graph
from hiwm_test_support.nodes import NodeProcess

from .rows import Measured, quantile

TARGETS = 5000
REPORTS = 100
_ROBOT = "yam_pair"
_SECONDS = 0.02
_PAD = """
device: joy
topic: joy
stale_after_s: 2.0
hands:
  - {arms: [left], axes: {x: {axis: 0}, z: {axis: 1}}}
  - {arms: [right], axes: {x: {axis: 0}, z: {axis: 1}}}
motion: {linear_m_s: 0.02}
buttons: {0: deadman}
"""


def measure_inverse_kinematics(
    launch_file: Path, folder: Path, repeats: int, more: Mapping[str, str]
) -> dict[str, Measured]:
    """Return the time of one displacement of both tips.

    Each goes a random way from home for two seconds, some beyond the reach. Arguments as in
    `measure`; none is used.
    """
    del launch_file, folder, repeats, more
    robot = load_embodiment(_ROBOT)
    tips = Tips(robot)
    rng = np.random.default_rng(0)
    target = np.array(robot.home)
    waits, used, missed = [], [], 0
    motions: dict[str, TipMotion] = {}
    for number in range(TARGETS):
        if number % 100 == 0:
            tips.forget()
            target = np.array(robot.home)
            motions = {
                arm: TipStep(displacement=_SECONDS * np.concatenate([
                    rng.normal(scale=0.08, size=3), rng.normal(scale=0.2, size=3)
                ])) for arm in tips.arms
            }
        start, spent = time.perf_counter(), time.thread_time()
        target = tips.move(target, motions, _SECONDS)
        used.append(1e3 * (time.thread_time() - spent))
        waits.append(1e3 * (time.perf_counter() - start))
        missed += bool(tips.note)
    return {
        "inverse_kinematics": Measured(
            value=quantile(waits, 0.99),
            details={
                "p50": quantile(waits, 0.5), "worst": max(waits),
                # Other load on the machine does not change these.
                "cpu p50": quantile(used, 0.5), "cpu p99": quantile(used, 0.99),
                "targets": TARGETS, "out of reach": missed,
            },
        )
    }


def measure_tip_commands(
    launch_file: Path, folder: Path, repeats: int, more: Mapping[str, str]
) -> dict[str, Measured]:
    """Return the time from a gamepad's message to the command it changes.

    Args:
        launch_file: not used.
        folder: for the device file.
        repeats: not used.
        more: not used.

    Raises:
        HiwmError: a node did not start.
    """
    del launch_file, repeats, more
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "pad.yaml"
    file.write_text(_PAD)
    graph = Graph(load_embodiment(_ROBOT))
    robot = graph.robot
    joys = robot.create_publisher(Joy, "joy", qos.SENSOR)
    options = {"device": "joy", "device_file": str(file)}
    try:
        with NodeProcess("hiwm_control", "arbiter", domain=graph.domain), NodeProcess(
            "hiwm_teleop", "teleop", domain=graph.domain, parameters=options
        ) as teleop:
            waits = _reports(graph, joys)
            if not waits:
                raise HiwmError(
                    "no commands", where="bench tip_command", remedy=f"read: {teleop.output}"
                )
    finally:
        graph.end()
    return {
        "tip_command": Measured(
            value=quantile(waits, 0.95),
            details={"p50": quantile(waits, 0.5), "worst": max(waits), "n": len(waits)},
        )
    }


def _reports(graph: Graph, joys: Publisher) -> list[float]:
    """Return the time of each report until a command follows it, ms."""
    robot = graph.robot
    said = robot.said

    def send(value: float) -> None:
        joys.publish(Joy(axes=[value, -value], buttons=[1]))

    def still() -> None:
        send(0.0)
        time.sleep(0.01)

    def released() -> None:
        joys.publish(Joy(axes=[0.0, 0.0], buttons=[0]))
        time.sleep(0.01)

    if not (graph.until(lambda: bool(said), released)
            and graph.until(lambda: bool(robot.commands), still)):
        return []
    waits = []
    for number in range(REPORTS):
        value = 1.0 if number % 2 else -1.0
        for _ in range(6):  # a pause, so that the report does not wait for the one before
            still()
            graph.executor.spin_once(timeout_sec=0.0)
        count, before = len(said), list(said[-1].action)
        start = time.perf_counter()
        send(value)

        def moved(count: int = count, before: list[float] = before) -> bool:
            return any(list(command.action) != before for command in said[count:])

        if graph.until(moved):
            waits.append(1e3 * (time.perf_counter() - start))
    return waits
