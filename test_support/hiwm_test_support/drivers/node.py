"""The drivers of one robot file on DDS: sources, cameras, controllers, services, interlocks.

Everything is made from the robot file and the embodiment, so a new file needs no code here. As real
drivers do, the node sends joints in an order of its own, grippers in messages of their own, and
joints that nobody asked for.
"""

import array
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, JointState

from hiwm_core.embodiment import Embodiment
from hiwm_core.robot_config import RobotConfig
from hiwm_core.robots.outputs import Output
from hiwm_test_support.controllers.cartesian import ServoInput
from hiwm_test_support.controllers.vendors import XSeries
from hiwm_test_support.drivers.body import body_at_home, to_driver
from hiwm_test_support.drivers.interlock_values import fine_value, ros_type
from hiwm_test_support.drivers.managers import ACTIVE, INACTIVE, LATCHED, ControllerManagers
from hiwm_test_support.drivers.outputs import (
    UPDATE_S,
    ForwardOutput,
    GripperOutput,
    Joints,
    OutputModel,
    TrajectoryOutput,
    TwistOutput,
    XSeriesOutput,
)
from hiwm_test_support.drivers.poses import JointStateOutput, PoseOutput

STATE_S = 0.02  # between two joint states
_LAST_TURNS = 5  # of the executor: goals that were accepted and not begun, one for each gripper


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What differs between robots, and is not in a robot file."""

    lag_s: float = 0.05
    dead_band: float = 0.0  # of a joint, in the driver's unit
    fastest: float = 0.0  # a command that needs more is ignored, 1/s of the driver's unit; 0: none
    from_desired: bool = False  # of trajectory controllers
    camera_hz: float = 20.0
    tool_axes: bool = False  # twists are along the tool's axes
    allow_stalling: bool = False  # of gripper actions: a stalled goal succeeds
    start: Mapping[str, float] = field(default_factory=dict)  # of joints that no action moves


class Drivers:
    """Real nodes of one robot's drivers, spun by a thread of their own.

    Args:
        robot: the robot file.
        embodiment: what it is one of.
        domain: ROS domain id.
        traits: of this robot.
        active: whether required controllers are active from the start.
    """

    def __init__(
        self, robot: RobotConfig, embodiment: Embodiment, *, domain: int, traits: Traits,
        active: bool = False,
    ) -> None:
        self.body = body_at_home(embodiment, robot)
        self.body.positions.update(traits.start)
        self.controllers = ControllerManagers(robot, ACTIVE if active else INACTIVE)
        self.interlocks = {name: fine_value(lock) for name, lock in robot.interlocks.items()}
        self.silent_cameras: set[str] = set()
        self.stamp_offset_s = 0.0
        self.calls: list[tuple[str, Any]] = []  # service and request of enabling calls
        # Nodes whose parameter `joints` orders an array, and those of the robot file.
        self.array_orders: list[tuple[Node, list[str]]] = []
        self.short_states = 0  # messages of joint states to come that lack their last position
        self.outputs: dict[str, OutputModel] = {}
        self.updates = 0  # of the controllers
        self._robot, self._embodiment = robot, embodiment
        self._domain, self._traits = domain, traits
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Drivers":
        """Start the nodes."""
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop them."""
        self.stop()

    def start(self) -> None:
        """Start the nodes; controllers and the body are as they were."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the nodes, as when a driver's process ends."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def change(self, action: Callable[["Drivers"], None]) -> None:
        """Change the drivers between two of their updates."""
        with self._lock:
            action(self)
            self.controllers.publish_activity()

    def set_controllers(self, state: str) -> None:
        """Activate or deactivate every required controller."""
        with self._lock:
            self.controllers.set_all(state)

    def set_arrays(self, expected: Callable[[list[str]], list[str]]) -> None:
        """Let controllers that take arrays expect other joints than the robot file's."""
        with self._lock:
            for node, joints in self.array_orders:
                node.set_parameters([Parameter("joints", value=expected(joints))])

    def measured(self) -> np.ndarray:
        """Return the positions of all joints and tools, in a fixed order."""
        with self._lock:
            values = [self.body.positions[name] for name in sorted(self.body.positions)]
            for name in sorted(self.body.poses):
                position, quaternion = self.body.poses[name]
                values += [*position, *quaternion]
            return np.array(values)

    # The thread of the nodes

    def _run(self) -> None:
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=self._domain)
        executor = SingleThreadedExecutor(context=context)
        try:
            with self._lock:
                node = rclpy.create_node("drivers", context=context)
                executor.add_node(node)
                self._context, self._executor = context, executor
                self.array_orders = []
                self._make_outputs(node)
                self._make_sources(node)
                self._make_cameras(node)
                self.controllers.connect(node, self._lock, self.outputs)
                self._make_services(node)
                self._make_interlocks(node)
            while not self._stop.is_set():
                executor.spin_once(timeout_sec=0.02)
            for _ in range(_LAST_TURNS):
                executor.spin_once(timeout_sec=0.0)
        except Exception as error:
            self.body.errors.append(f"the drivers ended: {error!r}")
            raise
        finally:
            executor.shutdown()
            context.try_shutdown()

    def _timer(self, node: Node, period_s: float, callback: Callable[[], None]) -> None:
        def locked() -> None:
            with self._lock:
                callback()

        node.create_timer(period_s, locked, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _stamp(self, node: Node) -> Time:
        nanoseconds = node.get_clock().now().nanoseconds + round(1e9 * self.stamp_offset_s)
        return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)

    def _make_outputs(self, node: Node) -> None:
        arms: dict[str, XSeries] = {}
        frames = [output.frame for output in self._robot.outputs.values() if output.frame]
        self._servo = ServoInput(planning_frame=frames[0] if frames else "")
        for name, output in self._robot.outputs.items():
            self.outputs[name] = self._output(node, output, arms)
            if output.adapter == "float64_multi_array":
                self._controller_node(output)
        self._arms = arms
        self._updated = time.monotonic()
        self._timer(node, UPDATE_S, lambda: self._update(node))

    def _output(self, node: Node, output: Output, arms: dict[str, XSeries]) -> OutputModel:
        if output.drives == "twist":
            return TwistOutput(
                node, output, self._embodiment, self.body, self._servo,
                tool_axes=self._traits.tool_axes,
            )
        if output.drives == "pose":
            return PoseOutput(
                node, output, self._embodiment, self.body, lag_s=self._traits.lag_s
            )
        joints = Joints(
            output, self._embodiment, self.body, lag_s=self._traits.lag_s,
            dead_band=self._traits.dead_band, fastest=self._traits.fastest,
        )
        match output.adapter:
            case "joint_trajectory":
                return TrajectoryOutput(node, output, joints, desired=self._traits.from_desired)
            case "float64_multi_array":
                return ForwardOutput(node, output, joints)
            case "joint_state":
                return JointStateOutput(node, output, joints)
            case "gripper_command" | "parallel_gripper_command":
                return GripperOutput(
                    node, output, joints, allow_stalling=self._traits.allow_stalling
                )
            case "joint_group_command" | "joint_single_command":
                folder = output.address.rpartition("/commands/")[0]
                group = joints.names if output.adapter == "joint_group_command" else ()
                arm = arms.setdefault(folder, XSeries(group="arm", joints=()))
                if group:
                    arm.joints = group
                return XSeriesOutput(node, output, joints, arm)
        raise NotImplementedError(f"no model of {output.adapter}")

    def _controller_node(self, output: Output) -> None:
        """Start a node with the parameter `joints`, as each controller is one."""
        path, _, name = output.address.strip("/").rpartition("/")[0].rpartition("/")
        controller = rclpy.create_node(name, namespace=f"/{path}", context=self._context)
        joints = [entry.driver for entry in output.entries]
        controller.declare_parameter("joints", joints)
        self._executor.add_node(controller)
        self.array_orders.append((controller, joints))

    def _update(self, node: Node) -> None:
        now, before = time.monotonic(), self._updated
        self._updated = now
        self.updates += 1
        clock = 1e-9 * node.get_clock().now().nanoseconds
        for model in self.outputs.values():
            model.update(clock, min(now - before, 0.1))

    def _make_sources(self, node: Node) -> None:
        for source in self._robot.joint_states.values():
            publisher = node.create_publisher(JointState, source.topic, 10)
            # Grippers apart from the arm, in an order of the driver's own, with a stranger.
            arm = [entry for entry in reversed(source.entries) if entry.gripper is None]
            grippers = [entry for entry in source.entries if entry.gripper is not None]
            for entries in filter(None, (arm, grippers)):
                def publish(publisher: Any = publisher, entries: Any = entries) -> None:
                    positions = [*(
                        to_driver(entry, self.body.positions[entry.joint]) for entry in entries
                    ), 0.0]
                    if self.short_states:
                        self.short_states -= 1
                        positions.pop()
                    publisher.publish(JointState(
                        header=self._header(node, ""),
                        name=[*(entry.driver for entry in entries), "unrelated_joint"],
                        position=array.array("d", positions),
                    ))
                self._timer(node, STATE_S, publish)
        groups = {group.measured.pose: group.name for group in self._embodiment.groups}
        for name, pose in self._robot.poses.items():
            publisher = node.create_publisher(PoseStamped, pose.topic, 10)

            def publish_pose(
                publisher: Any = publisher, group: str = groups[name], frame: str = pose.frame
            ) -> None:
                message = PoseStamped(header=self._header(node, frame))
                position, quaternion = self.body.poses[group]
                point, turn = message.pose.position, message.pose.orientation
                point.x, point.y, point.z = map(float, position)
                turn.x, turn.y, turn.z, turn.w = map(float, quaternion)
                publisher.publish(message)

            self._timer(node, STATE_S, publish_pose)

    def _header(self, node: Node, frame: str) -> Any:
        from std_msgs.msg import Header

        return Header(stamp=self._stamp(node), frame_id=frame)

    def _make_cameras(self, node: Node) -> None:
        for name, camera in self._robot.cameras.items():
            spec = self._embodiment.camera(name)
            width, height = camera.size or (spec.width, spec.height)
            publisher = node.create_publisher(Image, camera.image, 5)
            image = Image(
                width=width, height=height, step=3 * width, encoding=camera.encodings[0],
                data=array.array("B", bytes(3 * width * height)),
            )
            info = node.create_publisher(CameraInfo, camera.info, 5) if camera.info else None

            def publish(
                name: str = name, publisher: Any = publisher, image: Any = image, info: Any = info
            ) -> None:
                if name in self.silent_cameras:
                    return
                image.header = self._header(node, f"{name}_optical")
                publisher.publish(image)
                if info is not None:
                    info.publish(CameraInfo(
                        header=image.header, width=image.width, height=image.height
                    ))

            self._timer(node, 1.0 / self._traits.camera_hz, publish)

    # Enabling calls and interlocks

    def _make_services(self, node: Node) -> None:
        calls = (*self._robot.enable.on_activate, *self._robot.enable.on_deactivate)
        for service, kind in {call.service: call.type for call in calls}.items():
            def answer(request: Any, response: Any, service: str = service) -> Any:
                with self._lock:
                    return self._answer(service, request, response)

            node.create_service(ros_type(kind), service, answer)

    def _answer(self, service: str, request: Any, response: Any) -> Any:
        self.calls.append((service, request))
        kind = type(request).__name__
        if kind.startswith("ServoCommandType"):
            response.success = self._servo.switch(request.command_type)
        elif kind.startswith("SetBool"):
            response.success = self._servo.pause(request.data)
        elif kind.startswith("OperatingModes"):
            self._arms[service.rpartition("/")[0]].set_mode(request.name, request.mode)
        elif kind.startswith("TorqueEnable"):
            self._arms[service.rpartition("/")[0]].torque = request.enable
        return response

    def _make_interlocks(self, node: Node) -> None:
        publishers: dict[str, Any] = {}
        locks = self._robot.interlocks
        for lock in locks.values():
            if lock.topic not in publishers:
                publishers[lock.topic] = node.create_publisher(
                    ros_type(lock.type), lock.topic, LATCHED if lock.latched else 10
                )

        def publish() -> None:
            for topic, publisher in publishers.items():
                on_topic = {name: lock for name, lock in locks.items() if lock.topic == topic}
                message = ros_type(next(iter(on_topic.values())).type)()
                for name, lock in on_topic.items():
                    *path, field = lock.field.split(".")
                    part = message
                    for step in path:
                        part = getattr(part, step)
                    setattr(part, field, self.interlocks[name])
                publisher.publish(message)

        self._timer(node, 0.05, publish)
