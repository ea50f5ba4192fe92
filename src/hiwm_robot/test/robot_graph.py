"""The stand-in's driver and the bridge as processes, and everything above them in this one."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from hiwm_interfaces.msg import Command, GroundTruth, Tick, WorldInfo
from hiwm_interfaces.srv import Reset
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from hiwm_core.config_files import find_config
from hiwm_core.embodiment import load_embodiment
from hiwm_core.ros_domains import domain_id
from hiwm_core.stamps import stamp_ns
from hiwm_nodes import qos
from hiwm_test_support.nodes import NodeProcess, spin_until

HOME = np.array(load_embodiment("planar_bimanual").home)
STEP_M = 0.012 + 1e-9
GUARD_S = 200.0  # hang guard; a busy machine may take a minute to start a process


def at(x: float, y: float, yaw: float) -> Reset.Request:
    """Return a request to start with the object at a pose."""
    return Reset.Request(
        start_names=["object_x_m", "object_y_m", "object_yaw_rad"], start_values=[x, y, yaw]
    )


class Graph:
    """A driver and a bridge; this process is everything above them."""

    def __init__(self, stack: ExitStack, **bridge: Any) -> None:
        self.domain = domain_id()
        self.stack = stack
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        stack.callback(self.context.try_shutdown)
        self.node = rclpy.create_node("above", context=self.context)
        stack.callback(self.node.destroy_node)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.ticks: list[Tick] = []
        self.images: dict[int, bytes] = {}
        self.joints: dict[int, np.ndarray] = {}
        self.truths: dict[int, np.ndarray] = {}
        self.infos: list[WorldInfo] = []
        self.camera_infos: list[CameraInfo] = []
        self.sent: list[np.ndarray] = []
        self.levels: dict[str, tuple[bytes, str]] = {}
        self.answer: Callable[[Tick], Any] | None = None
        self.subscribe(WorldInfo, "world_info", self.infos.append, qos.LATCHED)
        self.subscribe(Image, "cameras/top/image_raw", self._on_image, qos.TICK)
        self.subscribe(CameraInfo, "cameras/top/camera_info", self.camera_infos.append, qos.TICK)
        self.subscribe(JointState, "joint_states", self._on_joints, qos.TICK)
        self.subscribe(GroundTruth, "driver/ground_truth", self._on_truth, qos.TICK)
        self.subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.TICK)
        self.subscribe(Tick, "tick", self._on_tick, qos.TICK)
        self.subscribe(
            JointTrajectory, "driver/arm_controller/joint_trajectory",
            lambda m: self.sent.append(np.array(m.points[0].positions)), qos.TICK,
        )
        self.subscribe(
            Float64MultiArray, "driver/arm_controller/commands",
            lambda m: self.sent.append(np.array(m.data)), qos.TICK,
        )
        self.command_pub = self.node.create_publisher(Command, "command", qos.COMMAND)
        self.bridge_parameters = bridge

    def subscribe(self, kind: Any, topic: str, callback: Any, profile: Any) -> None:
        self.node.create_subscription(kind, topic, callback, profile)

    def driver(self, **parameters: Any) -> NodeProcess:
        return self.stack.enter_context(NodeProcess(
            "hiwm_robot", "standin_driver", domain=self.domain, parameters=parameters
        ))

    def bridge(self, **parameters: Any) -> NodeProcess:
        return self.stack.enter_context(NodeProcess(
            "hiwm_robot", "robot_bridge", domain=self.domain, parameters=parameters
        ))

    def _on_image(self, message: Image) -> None:
        self.images[stamp_ns(message.header.stamp)] = message.data.tobytes()

    def _on_joints(self, message: JointState) -> None:
        self.joints[stamp_ns(message.header.stamp)] = np.array(message.position)

    def _on_truth(self, message: GroundTruth) -> None:
        self.truths[stamp_ns(message.header.stamp)] = np.array(message.values[:3])

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.levels[status.name] = (status.level, status.message)

    def _on_tick(self, message: Tick) -> None:
        # rclpy hands out a fresh message each time, so keeping it is safe.
        self.ticks.append(message)
        if self.answer is not None:
            action = self.answer(message)
            if action is not None:
                self.command(message, action)

    def command(self, tick: Tick, action: Any) -> None:
        self.command_pub.publish(Command(
            header=tick.header, epoch=tick.epoch, step=tick.step, source=Command.SOURCE_POLICY,
            device="test", action=[float(value) for value in action],
        ))

    def until(self, predicate: Callable[[], bool]) -> None:
        assert spin_until(self.executor, predicate, GUARD_S), "the hang guard expired"

    def more_ticks(self, count: int) -> list[Tick]:
        goal = len(self.ticks) + count
        self.until(lambda: len(self.ticks) >= goal)
        return self.ticks[goal - count : goal]

    def call(self, kind: Any, name: str, request: Any) -> Any:
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        self.node.destroy_client(client)
        return future.result()

    def position(self) -> np.ndarray:
        return self.joints[max(self.joints)]

    def level(self) -> bytes:
        return self.levels.get("/robot_bridge", (DiagnosticStatus.OK, ""))[0]


def robot_file(folder: Path, **changes: Any) -> str:
    """Write the stand-in's config with changes; None removes a key."""
    data = {**yaml.safe_load(find_config("robots", "standin").read_text()), **changes}
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in data.items() if v is not None}))
    return str(path)


FORWARD = {"arms": {
    "adapter": "float64_multi_array", "topic": "driver/arm_controller/commands",
    "joints": list(load_embodiment("planar_bimanual").joint_names), "silence": "hold_measured",
}}
