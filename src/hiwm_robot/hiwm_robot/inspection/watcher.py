"""Fills a `Sighting` from a running graph. Only subscribes and asks; it never publishes a command.

Its drafts are tested by ``test_inspection.py``.
"""

import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

from geometry_msgs.msg import PoseStamped
from PIL import Image as Picture
from PIL import UnidentifiedImageError
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import GetParameters
from rclpy.action import get_action_server_names_and_types_by_node
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Bool, Float64, String

from hiwm_core.errors import ConfigError
from hiwm_core.robots.cameras import ENCODINGS
from hiwm_core.stamps import stamp_ns
from hiwm_robot.activation_checks import UNKNOWN_NODE
from hiwm_robot.inspection.commands import ADAPTER_OF
from hiwm_robot.inspection.sightings import (
    ActionServer,
    CommandTopic,
    Controller,
    Flag,
    ImageTopic,
    JointTopic,
    PoseTopic,
    Sighting,
    Stream,
)
from hiwm_robot.interface_types import interface_type

_POLL_S = 0.25  # between two looks at the graph
_MANAGER = "controller_manager_msgs/srv/ListControllers"
_FLAG_WORDS = (
    "stop", "emergency", "protective", "fault", "error", "enabled", "running", "ready",
    "speed_scaling",
)
_INFO = "sensor_msgs/msg/CameraInfo"
_PARAMETERS = ("joints", "joint")  # of controllers, and of gripper controllers


class Watcher(Node):
    """A node that watches all topics outside a session of hiwm.

    Args:
        namespace: only names below it are watched, and robot_description; "/" for all.
        leave_out: namespace of a session that may be running.
    """

    def __init__(self, namespace: str, leave_out: str) -> None:
        super().__init__("inspect", start_parameter_services=False)
        self._within = "/" + namespace.strip("/")
        self._leave_out = f"/{leave_out.strip('/')}/"
        self._sighting = Sighting(seconds=0.0)
        self._known: set[str] = set()  # topics, services and nodes that were dealt with
        self._futures: list[tuple[Any, Callable[[Any], None]]] = []
        self._infos: list[str] = []

    def watch(self, seconds: float) -> Sighting:
        """Watch for a time and return what was seen."""
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(self)
        began, looked = time.monotonic(), 0.0
        try:
            while (now := time.monotonic()) < began + seconds:
                if now >= looked + _POLL_S:
                    looked = now
                    self._look()
                executor.spin_once(timeout_sec=0.05)
                self._collect()
        finally:
            executor.shutdown()
        self._sighting.seconds = time.monotonic() - began
        self._finish()
        return self._sighting

    def _look(self) -> None:
        """Subscribe to new topics, and ask new services."""
        for topic, types in self.get_topic_names_and_types():
            if len(types) == 1 and topic not in self._known and self._concerns(topic):
                self._take_up(topic, types[0])
        for service, types in self.get_service_names_and_types():
            if service in self._known or not self._concerns(service):
                continue
            if _MANAGER in types:
                self._known.add(service)
                self._ask_manager(service)
            elif service.endswith("/get_parameters"):
                self._known.add(service)
                self._ask_joints(service)

    def _concerns(self, name: str) -> bool:
        if name == "/clock" or name.endswith("/robot_description"):
            return True
        inside = self._within == "/" or name.startswith(f"{self._within}/")
        return inside and not name.startswith(self._leave_out)

    def _take_up(self, topic: str, kind: str) -> None:
        publishers = self.get_publishers_info_by_topic(topic)
        if topic == "/clock":
            self._sighting.clock = bool(publishers)
            return
        if not publishers:
            return  # a command, perhaps: looked at in the end
        latched = any(
            one.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for one in publishers
        )
        words = topic.lower()
        if kind == "sensor_msgs/msg/JointState":
            seen = JointTopic(topic=topic)
            self._sighting.joint_topics.append(seen)
            self._hear(JointState, topic, lambda m: self._add_joints(seen, m), latched=False)
        elif kind == "sensor_msgs/msg/Image":
            image = ImageTopic(topic=topic, compressed=False)
            self._sighting.images.append(image)
            self._hear(Image, topic, lambda m: self._add_image(image, m), latched=False)
        elif kind == "sensor_msgs/msg/CompressedImage":
            packed = ImageTopic(topic=topic, compressed=True)
            self._sighting.images.append(packed)
            self._hear(
                CompressedImage, topic, lambda m: self._add_compressed(packed, m), latched=False
            )
        elif kind == "geometry_msgs/msg/PoseStamped":
            pose = PoseTopic(topic=topic)
            self._sighting.poses.append(pose)
            self._hear(PoseStamped, topic, lambda m: self._add_pose(pose, m), latched=False)
        elif kind == _INFO:
            self._infos.append(topic)
        elif kind == "std_msgs/msg/String" and words.endswith("robot_description"):
            self._hear(String, topic, self._add_urdf, latched=True)
        elif kind in ("std_msgs/msg/Bool", "std_msgs/msg/Float64") and any(
            word in words for word in _FLAG_WORDS
        ):
            flag = Flag(topic=topic, type=kind, latched=latched)
            self._sighting.flags.append(flag)

            def set_value(message: Any) -> None:
                flag.value = message.data

            self._hear(
                Bool if kind.endswith("Bool") else Float64, topic, set_value, latched=latched
            )
        self._known.add(topic)

    def _hear(
        self, kind: Any, topic: str, callback: Callable[[Any], None], *, latched: bool
    ) -> None:
        # Best effort hears every publisher; latched messages need a latched subscription.
        profile = QoSProfile(
            depth=20,
            reliability=ReliabilityPolicy.RELIABLE if latched else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        self.create_subscription(kind, topic, callback, profile)

    def _arrived(self, stream: Stream, stamp: Any, part: object = None) -> None:
        now = self.get_clock().now().nanoseconds
        stream.add(stamp_ns(stamp), now, time.monotonic(), part)

    def _add_joints(self, seen: JointTopic, message: Any) -> None:
        self._arrived(seen.stream, message.header.stamp, tuple(message.name))
        seen.add(message.name, list(message.position))

    def _add_image(self, seen: ImageTopic, message: Any) -> None:
        self._arrived(seen.stream, message.header.stamp)
        seen.size, seen.encoding = (message.width, message.height), message.encoding
        if message.encoding not in ENCODINGS:
            seen.fault = f"encoding {message.encoding} is not a picture that the bridge reads"

    def _add_compressed(self, seen: ImageTopic, message: Any) -> None:
        self._arrived(seen.stream, message.header.stamp)
        if seen.size is not None or seen.fault:
            return
        seen.encoding = message.format
        try:
            picture = Picture.open(BytesIO(bytes(message.data)))
        except (UnidentifiedImageError, OSError):
            seen.fault = f"{message.format or 'its format'} is neither jpeg nor png"
            return
        seen.size, seen.encoding = picture.size, f"{(picture.format or '').lower()}"
        if picture.mode.startswith("I"):
            seen.fault = "16-bit images are not pictures"

    def _add_pose(self, seen: PoseTopic, message: Any) -> None:
        self._arrived(seen.stream, message.header.stamp)
        point, turn = message.pose.position, message.pose.orientation
        seen.frame = message.header.frame_id
        seen.position = (point.x, point.y, point.z)
        seen.quaternion = (turn.x, turn.y, turn.z, turn.w)

    def _add_urdf(self, message: Any) -> None:
        self._sighting.urdf = message.data

    # Services

    def _ask_manager(self, service: str) -> None:
        manager = service.rpartition("/")[0]
        try:
            kind = interface_type(_MANAGER, service)
        except ConfigError as error:
            self._sighting.notes.append(f"{manager} was not asked: {error}")
            return

        def answered(response: Any) -> None:
            self._sighting.controllers += [
                Controller(
                    manager=manager, name=one.name, type=one.type, state=one.state,
                    interfaces=tuple(one.required_command_interfaces or one.claimed_interfaces),
                )
                for one in response.controller
            ]

        self._call(kind, service, kind.Request(), answered)

    def _ask_joints(self, service: str) -> None:
        node = service.rpartition("/")[0]

        def answered(response: Any) -> None:
            for value in response.values:
                if value.type == ParameterType.PARAMETER_STRING_ARRAY:
                    self._sighting.parameters[node] = tuple(value.string_array_value)
                elif value.type == ParameterType.PARAMETER_STRING and value.string_value:
                    self._sighting.parameters[node] = (value.string_value,)

        # One by one: a node that has not declared the first does not answer for the second.
        for name in _PARAMETERS:
            self._call(GetParameters, service, GetParameters.Request(names=[name]), answered)

    def _call(
        self, kind: Any, service: str, request: Any, answered: Callable[[Any], None]
    ) -> None:
        client = self.create_client(kind, service)
        self._waiting(client, request, answered)

    def _waiting(self, client: Any, request: Any, answered: Callable[[Any], None]) -> None:
        """Send a request as soon as its server is matched."""
        if client.service_is_ready():
            self._futures.append((client.call_async(request), answered))
        else:
            self._futures.append((client, lambda _: self._waiting(client, request, answered)))

    def _collect(self) -> None:
        waiting, self._futures = self._futures, []
        for one, answered in waiting:
            if hasattr(one, "service_is_ready"):  # a client that had no server yet
                answered(None)
            elif one.done():
                if one.result() is not None:
                    answered(one.result())
            else:
                self._futures.append((one, answered))

    # The end

    def _finish(self) -> None:
        sighting = self._sighting
        sighting.nodes = tuple(sorted(
            f"{namespace.rstrip('/')}/{name}"
            for name, namespace in self.get_node_names_and_namespaces()
            if name != self.get_name() and not name.startswith("_")
        ))
        for topic in sighting.joint_topics:
            topic.publishers = self._nodes(self.get_publishers_info_by_topic(topic.topic))
        sighting.joint_topics = [topic for topic in sighting.joint_topics if topic.stream.count]
        sighting.images = [
            image for image in sighting.images if "compressedDepth" not in image.topic
        ]
        for image in sighting.images:
            folder = image.topic.removesuffix("/compressed").rpartition("/")[0]
            image.info = next(
                (info for info in self._infos if info.rpartition("/")[0] == folder), ""
            )
        self._find_commands()
        self._find_actions()

    def _find_commands(self) -> None:
        measured = {topic.topic for topic in self._sighting.joint_topics}
        poses = {pose.topic for pose in self._sighting.poses}
        for topic, types in self.get_topic_names_and_types():
            if types[0] not in ADAPTER_OF or not self._concerns(topic):
                continue
            subscribers = self._nodes(self.get_subscriptions_info_by_topic(topic))
            if subscribers and topic not in measured | poses:
                self._sighting.commands.append(CommandTopic(
                    topic=topic, type=types[0], subscribers=subscribers,
                    publishers=self._nodes(self.get_publishers_info_by_topic(topic)),
                ))

    def _find_actions(self) -> None:
        for name, namespace in self.get_node_names_and_namespaces():
            offered = get_action_server_names_and_types_by_node(self, name, namespace)
            self._sighting.actions += [
                ActionServer(name=action, type=types[0], node=f"{namespace.rstrip('/')}/{name}")
                for action, types in offered if self._concerns(action)
            ]

    def _nodes(self, infos: Any) -> tuple[str, ...]:
        names = (
            f"{one.node_namespace.rstrip('/')}/{one.node_name}" for one in infos
            if one.node_name != UNKNOWN_NODE
        )
        own = f"/{self.get_name()}"
        return tuple(dict.fromkeys(name for name in names if name != own))
