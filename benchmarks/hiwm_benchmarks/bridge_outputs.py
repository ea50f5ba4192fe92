"""Latency and jitter of the robot bridge, measured at the controllers' end of DDS.

The bridge is a process of its own. This one is the drivers, the arbiter and the controllers: it
sends a 640x480 camera at 30 Hz and joint states at 100 Hz. Times include both hops over DDS. The
jitter is that of the middleware's stamps of receipt: this process also sends images, and its
callbacks wait for them, as those of a controller do not.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from hiwm_interfaces.msg import Command, Tick
from sensor_msgs.msg import Image
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from hiwm_core.errors import DeviceError
from hiwm_core.ros_domains import domain_id
from hiwm_nodes import qos
from hiwm_nodes.messages import image_message
from hiwm_test_support.nodes import NodeProcess, spin_until

from .rows import Measured, quantile
from .still_arms import StillArms

COMMANDS = 300
RATE_HZ = 100.0
_PATIENCE_S = 60.0
_ROBOT = f"""
name: measured
stand_in: true
embodiment: planar_bimanual
pace: camera
stale_after_s: 2.0
joint_states:
  arms:
    topic: joint_states_of_driver
    joints: [left_x_joint, left_y_joint, right_x_joint, right_y_joint]
cameras:
  top:
    image: camera/image_raw
    size: [640, 480]
    crop: {{x: 80, y: 0, width: 480, height: 480}}
outputs:
  left:
    adapter: float64_multi_array
    topic: left/commands
    joints: [left_x_joint, left_y_joint]
    silence: hold_last
    rate_hz: {RATE_HZ}
  right:
    adapter: joint_trajectory
    topic: right/trajectory
    joints: [right_x_joint, right_y_joint]
    silence: hold_last
"""


class _Cell(StillArms):
    """Everything around the bridge."""

    def __init__(self, context: rclpy.Context) -> None:
        super().__init__(context, "planar_bimanual", "joint_states_of_driver")
        self.waits: list[float] = []  # command to trajectory [s]
        self.samples: list[float] = []  # arrivals of the array [s]
        self.sent: list[float] = []  # when the bridge sent it [s]
        self._sent: float | None = None
        self._pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
        self._images = self.node.create_publisher(Image, "camera/image_raw", qos.IMAGE_PUB)
        self._listen(Tick, "tick", self._on_tick)
        self._listen(JointTrajectory, "right/trajectory", self._on_trajectory)
        self._listen(Float64MultiArray, "left/commands", self._on_samples)
        self.node.create_timer(1.0 / 30.0, self._show)

    def _listen(self, kind: Any, topic: str, callback: Any) -> None:
        self.node.create_subscription(kind, topic, callback, qos.TICK)

    def _show(self) -> None:
        stamp = self.node.get_clock().now().to_msg()
        self._images.publish(image_message(self._pixels, stamp, "camera"))

    def _on_tick(self, tick: Tick) -> None:
        # A circle with a radius of 5 mm: inside every limit.
        angle = 0.2 * tick.step
        offset = 0.005 * np.array([np.cos(angle), np.sin(angle)] * 2)
        self._sent = time.perf_counter()
        self.commands.publish(Command(
            epoch=tick.epoch, step=tick.step, source=Command.SOURCE_POLICY, device="benchmark",
            action=(np.array(self.home) + offset).tolist(),
        ))

    def _on_trajectory(self, _message: JointTrajectory) -> None:
        if self._sent is not None:
            self.waits.append(time.perf_counter() - self._sent)
            self._sent = None

    def _on_samples(self, _message: Float64MultiArray, information: Mapping[str, int]) -> None:
        self.samples.append(1e-9 * information["received_timestamp"])
        self.sent.append(1e-9 * information["source_timestamp"])


def measure_bridge_outputs(
    launch_file: Path, folder: Path, repeats: int, more: Mapping[str, str]
) -> dict[str, Measured]:
    """Return the time from a command to its message, and the jitter of an interpolated output.

    Arguments as in `measure`; none is used.

    Raises:
        DeviceError: the bridge did not answer enough commands.
    """
    del launch_file, folder, repeats, more
    domain, context = domain_id(), rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            robot = Path(scratch) / "measured.yaml"
            robot.write_text(_ROBOT)
            cell = _Cell(context)
            with NodeProcess(
                "hiwm_robot", "robot_bridge", domain=domain, parameters={"robot": str(robot)}
            ):
                done = spin_until(
                    cell.executor, lambda: len(cell.waits) >= COMMANDS, _PATIENCE_S
                )
    finally:
        context.try_shutdown()
    if not done:
        raise DeviceError(
            f"the bridge answered {len(cell.waits)} of {COMMANDS} commands", where="bridge_outputs",
            remedy="run its node tests",
        )
    waits = [1e3 * wait for wait in cell.waits]
    jitter, sent = _jitter_ms(cell.samples), _jitter_ms(cell.sent)
    return {
        "bridge_command": Measured(value=quantile(waits, 0.99), details={
            "p50": quantile(waits, 0.5), "worst": max(waits), "commands": len(waits),
        }),
        "output_jitter": Measured(value=quantile(jitter, 0.99), details={
            "p50": quantile(jitter, 0.5), "worst": max(jitter), "messages": len(cell.samples),
            "sent p99": quantile(sent, 0.99), "sent worst": max(sent),
        }),
    }


def _jitter_ms(times: Sequence[float]) -> list[float]:
    """Return by how much each interval differs from the period, ms."""
    return [float(value) for value in np.abs(np.diff(times) - 1.0 / RATE_HZ) * 1e3]
