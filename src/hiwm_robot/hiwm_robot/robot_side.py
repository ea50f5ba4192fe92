"""The bridge's robot side: driver topics, controllers, reset service."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from hiwm_interfaces.srv import PlaceScene
from numpy.typing import NDArray
from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode
from rclpy.task import Future
from rclpy.wait_for_message import wait_for_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import ConfigError, DeviceError
from hiwm_core.robot_config import RobotConfig
from hiwm_core.stamps import stamp_ns
from hiwm_nodes import qos
from hiwm_robot.calibration import embodiment_info
from hiwm_robot.camera_images import embodiment_image
from hiwm_robot.command_adapters import command_adapter
from hiwm_robot.streams import Streams

# The default callbacks log a QoS mismatch. Each adds an entity to every wait.
QUIET = PublisherEventCallbacks(use_default_callbacks=False)


class _Drained(CallbackGroup):
    """A group that the executor never waits on: its subscription is read when an image arrives.

    Robots publish joint states at hundreds of hertz. Waking up for each would cost more than the
    rest of the bridge.
    """

    def can_execute(self, entity: Any) -> bool:
        """Return False."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Return False."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """Do nothing; nothing is ever executed."""


class RobotSide:
    """Newest images and joint state of one robot, and the connection to its controllers.

    Args:
        node: creates publishers and subscriptions.
        robot: topics and adapter.
        embodiment: expected images and joints.
        reliable: request reliable delivery, for drivers in lock-step.
        on_image: called when an image has arrived.
        note: called with a stream's name and its problem; empty if there is none.
        reset_group: callback group of the reset client.
    """

    def __init__(
        self, node: LifecycleNode, robot: RobotConfig, embodiment: Embodiment, *, reliable: bool,
        on_image: Callable[[], None], note: Callable[[str, str], None],
        reset_group: CallbackGroup,
    ) -> None:
        self.streams = Streams(embodiment, robot.pace)
        self.images: dict[str, Image] = {}
        self.infos: dict[str, CameraInfo] = {}  # calibrations that drivers publish
        self.joints = JointState()
        self._node = node
        self._robot = robot
        self._embodiment = embodiment
        self._profile = qos.TICK if reliable else qos.SENSOR
        self._on_image = on_image
        self._note = note
        self._reset_group = reset_group
        if len(robot.joint_states) != 1 or len(robot.outputs) != 1:
            raise ConfigError(
                "the bridge serves one source of joint states and one output yet",
                where=f"robot {robot.name}", remedy="use a robot with one of each",
            )
        (self._joint_source,) = robot.joint_states.values()
        (self._output,) = robot.outputs.values()
        self._adapter = command_adapter(embodiment, self._output)
        self._joint_sub: Any = None

    def check(self, timeout_s: float) -> None:
        """Wait for a message on each driver topic and check it.

        Raises:
            DeviceError: no message arrived.
            ConfigError: a message does not fit the embodiment.
        """
        for name, camera in self._robot.cameras.items():
            kind = CompressedImage if camera.compressed else Image
            first = self._first_message(kind, camera.image, timeout_s)
            embodiment_image(first, self._embodiment.camera(name), camera)
        joints = self._first_message(JointState, self._joint_source.topic, timeout_s)
        problem = Streams(self._embodiment).joint_state(
            joints.name, joints.position, stamp_ns(joints.header.stamp), 0.0
        )
        if problem:
            raise ConfigError(
                problem, where=self._joint_source.topic,
                remedy=f"let the driver publish the joints of embodiment {self._embodiment.name}",
            )

    def _first_message(self, kind: Any, topic: str, timeout_s: float) -> Any:
        found, message = wait_for_message(
            kind, self._node, topic, qos_profile=qos.SENSOR, time_to_wait=timeout_s
        )
        if not found:
            raise DeviceError(
                f"nothing on {self._node.resolve_topic_name(topic)} within {timeout_s:g} s",
                where=f"robot {self._robot.name}",
                remedy="start the robot's drivers; the bridge continues when they run",
            )
        return message

    def connect(self) -> None:
        """Subscribe to the drivers and connect to the controllers; only once."""
        if self._joint_sub is not None:
            return
        for name, camera in self._robot.cameras.items():
            self._node.create_subscription(
                CompressedImage if camera.compressed else Image, camera.image,
                lambda message, name=name: self._receive_image(name, message),
                self._profile,
            )
            if camera.info:
                self._node.create_subscription(
                    CameraInfo, camera.info,
                    lambda message, name=name: self._receive_info(name, message), qos.SENSOR,
                )
        self._joint_sub = self._node.create_subscription(
            JointState, self._joint_source.topic, self._receive_joints, self._profile,
            callback_group=_Drained(),
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
        )
        self._command_pub = self._node.create_lifecycle_publisher(
            self._adapter.message_type, self._output.address, qos.TICK, event_callbacks=QUIET
        )
        if self._robot.reset_service:
            self._place = self._node.create_client(
                PlaceScene, self._robot.reset_service, callback_group=self._reset_group
            )

    def take_joints(self) -> None:
        """Read the joint states that have arrived."""
        if self._joint_sub is None:
            return
        handle = self._joint_sub.handle
        with handle:
            while (taken := handle.take_message(JointState, False)) is not None:
                self._receive_joints(taken[0])

    def _receive_image(self, camera: str, message: Any) -> None:
        try:
            self.images[camera] = embodiment_image(
                message, self._embodiment.camera(camera), self._robot.cameras[camera]
            )
        except ConfigError as error:
            self._note(f"camera {camera}", str(error))
            return
        self._note(f"camera {camera}", "")
        self.streams.image(camera, stamp_ns(message.header.stamp), time.monotonic())
        self._on_image()

    def _receive_info(self, camera: str, message: CameraInfo) -> None:
        try:
            self.infos[camera] = embodiment_info(
                message, self._embodiment.camera(camera), self._robot.cameras[camera]
            )
        except ConfigError as error:
            self._note(f"calibration {camera}", str(error))
            return
        self._note(f"calibration {camera}", "")

    def _receive_joints(self, message: JointState) -> None:
        problem = self.streams.joint_state(
            message.name, message.position, stamp_ns(message.header.stamp), time.monotonic()
        )
        self._note("joint states", problem)
        if not problem:
            self.joints = message

    def send(self, action: NDArray[np.float64]) -> None:
        """Send a limited target [A] to the controllers. Only for an active bridge."""
        self._command_pub.publish(self._adapter.message(action))

    def place(self, values: Mapping[str, float], seed: int) -> Future:
        """Request a reset from the driver; return the future of its PlaceScene response."""
        return self._place.call_async(PlaceScene.Request(
            start_names=list(values), start_values=list(values.values()), seed=seed
        ))

    def forget_placing(self, future: Future) -> None:
        """Drop a reset request that has timed out."""
        self._place.remove_pending_request(future)
