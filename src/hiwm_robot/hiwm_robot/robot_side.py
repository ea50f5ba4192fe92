"""The bridge's robot side: what drivers publish, and the reset service."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from geometry_msgs.msg import PoseStamped
from hiwm_interfaces.srv import PlaceScene
from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode
from rclpy.subscription import Subscription
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import ConfigError, DeviceError
from hiwm_core.robot_config import RobotConfig
from hiwm_core.robots.sources import JointSource, PoseSource
from hiwm_core.stamps import stamp_ns
from hiwm_nodes import qos
from hiwm_nodes.drained import Drained, messages, waiting
from hiwm_nodes.messages import time_message
from hiwm_robot.calibration import embodiment_info
from hiwm_robot.camera_images import embodiment_image
from hiwm_robot.streams import Streams


class RobotSide:
    """Newest images, joint states and poses of one robot.

    Args:
        node: creates subscriptions.
        robot: topics.
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
        self.streams = Streams(embodiment, robot, repeats=reliable)
        self.images: dict[str, Image] = {}
        self.infos: dict[str, CameraInfo] = {}  # calibrations that drivers publish
        self.poses: dict[str, PoseStamped] = {}
        self._node = node
        self._robot = robot
        self._embodiment = embodiment
        self._profile = qos.TICK if reliable else qos.SENSOR
        self._on_image = on_image
        self._note = note
        self._reset_group = reset_group
        self._connected = False
        # Subscriptions that are read in `take_states`, with their callbacks.
        self._states: list[tuple[Subscription, Callable[[Any], None]]] = []

    def check(self, timeout_s: float) -> None:
        """Wait for messages on each driver topic and check them.

        Raises:
            DeviceError: no message arrived, or not all joints.
            ConfigError: a message does not fit the embodiment.
        """
        for name, camera in self._robot.cameras.items():
            kind = CompressedImage if camera.compressed else Image
            first = self._first_message(kind, camera.image, timeout_s)
            embodiment_image(first, self._embodiment.camera(name), camera)
        for name, source in self._robot.joint_states.items():
            self._check_joints(name, source, timeout_s)
        for pose in self._robot.poses.values():
            self._first_message(PoseStamped, pose.topic, timeout_s)

    def _check_joints(self, name: str, source: JointSource, timeout_s: float) -> None:
        """Wait until every joint has been seen: a message may hold only some."""
        seen = Streams(self._embodiment, self._robot)
        heard = False
        for message in messages(self._node, JointState, source.topic, qos.SENSOR, timeout_s):
            heard = True
            # A missing stamp is reported when the message is used.
            stamp = max(1, self._stamp(message, source))
            problem = seen.joint_state(
                name, message.name, message.position, stamp, time.monotonic()
            )
            if problem:
                raise ConfigError(
                    problem, where=source.topic,
                    remedy=f"let the driver publish the joints of embodiment "
                    f"{self._embodiment.name}, each once",
                )
            if not seen.missing_joints(name):
                return
        if not heard:
            raise self._silent(source.topic, timeout_s)
        raise DeviceError(
            f"{self._node.resolve_topic_name(source.topic)} lacks "
            f"{', '.join(seen.missing_joints(name))}",
            where=f"robot {self._robot.name}: joint_states.{name}",
            remedy="start the drivers of these joints, or correct their names",
        )

    def _first_message(self, kind: Any, topic: str, timeout_s: float) -> Any:
        for message in messages(self._node, kind, topic, qos.SENSOR, timeout_s):
            return message
        raise self._silent(topic, timeout_s)

    def _silent(self, topic: str, timeout_s: float) -> DeviceError:
        return DeviceError(
            f"nothing on {self._node.resolve_topic_name(topic)} within {timeout_s:g} s",
            where=f"robot {self._robot.name}",
            remedy="start the robot's drivers; the bridge continues when they run",
        )

    def connect(self) -> None:
        """Subscribe to the drivers; only once."""
        if self._connected:
            return
        self._connected = True
        for name, camera in self._robot.cameras.items():
            self._node.create_subscription(
                CompressedImage if camera.compressed else Image, camera.image,
                lambda message, name=name: self._receive_image(name, message), self._profile,
            )
            if camera.info:
                self._node.create_subscription(
                    CameraInfo, camera.info,
                    lambda message, name=name: self._receive_info(name, message), qos.SENSOR,
                )
        for name, source in self._robot.joint_states.items():
            self._drain(JointState, source.topic, partial(self._receive_joints, name, source))
        for name, pose in self._robot.poses.items():
            self._drain(PoseStamped, pose.topic, partial(self._receive_pose, name, pose))
        if self._robot.reset_service:
            self._place = self._node.create_client(
                PlaceScene, self._robot.reset_service, callback_group=self._reset_group
            )

    def _drain(self, kind: Any, topic: str, receive: Callable[[Any], None]) -> None:
        subscription = self._node.create_subscription(
            kind, topic, receive, self._profile, callback_group=Drained(),
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
        )
        self._states.append((subscription, receive))

    def take_states(self) -> None:
        """Read the joint states and poses that have arrived."""
        for subscription, receive in self._states:
            for message in waiting(subscription):
                receive(message)

    def _stamp(self, message: Any, source: Any) -> int:
        """Return the stamp of a driver's message, or of its arrival, ns."""
        if source.stamps == "arrival":
            return int(self._node.get_clock().now().nanoseconds)
        return stamp_ns(message.header.stamp)

    def _receive_image(self, camera: str, message: Any) -> None:
        topic = self._robot.cameras[camera]
        try:
            image = embodiment_image(message, self._embodiment.camera(camera), topic)
        except ConfigError as error:
            self._note(f"camera {camera}", str(error))
            return
        self._note(f"camera {camera}", "")
        stamp = self._stamp(message, topic)
        if stamp > 0:
            stamp += round(topic.stamp_offset_s * 1e9)
        if not self.streams.image(camera, stamp, time.monotonic()):
            return
        image.header.stamp = time_message(stamp)
        self.images[camera] = image
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

    def _receive_joints(self, name: str, source: JointSource, message: JointState) -> None:
        problem = self.streams.joint_state(
            name, message.name, message.position, self._stamp(message, source), time.monotonic(),
            message.velocity, message.effort,
        )
        self._note(f"joint states {name}", problem)

    def _receive_pose(self, name: str, source: PoseSource, message: PoseStamped) -> None:
        point, turn = message.pose.position, message.pose.orientation
        stamp = self._stamp(message, source)
        problem = self.streams.pose(
            name, [point.x, point.y, point.z], [turn.x, turn.y, turn.z, turn.w],
            message.header.frame_id, stamp, time.monotonic(),
        )
        self._note(f"pose {name}", problem)
        if not problem:
            message.header.stamp = time_message(stamp)
            self.poses[name] = message

    def place(self, values: Mapping[str, float], seed: int) -> Future:
        """Request a reset from the driver; return the future of its PlaceScene response."""
        return self._place.call_async(PlaceScene.Request(
            start_names=list(values), start_values=list(values.values()), seed=seed
        ))

    def forget_placing(self, future: Future) -> None:
        """Drop a reset request that has timed out."""
        self._place.remove_pending_request(future)
