"""The topics that a session records, with their roles in the recorder."""

from collections.abc import Sequence
from dataclasses import dataclass

from geometry_msgs.msg import PoseStamped
from hiwm_interfaces.msg import (
    BranchTree,
    Command,
    ControlState,
    GroundTruth,
    OperatorCommand,
    PolicyPlan,
    Tick,
    WorldInfo,
)
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, JointState

from hiwm_core.bags import Role
from hiwm_core.frames import pose_stream

# Messages that may queue while the recorder writes a chunk or the machine stalls: seconds of data
# at any rate of a world. The middleware queues them, so a delay in the recorder loses nothing.
QUEUE_DEPTH = 256


@dataclass(frozen=True, kw_only=True)
class RecorderInput:
    """A topic to subscribe to."""

    name: str  # relative
    message: type
    role: Role
    latched: bool = False

    @property
    def message_type(self) -> str:
        """Name of the type, such as sensor_msgs/msg/Image."""
        package = self.message.__module__.split(".")[0]
        return f"{package}/msg/{self.message.__name__}"

    @property
    def qos(self) -> QoSProfile:
        """Reliable, with a deep queue."""
        return QoSProfile(
            depth=QUEUE_DEPTH, reliability=ReliabilityPolicy.RELIABLE,
            durability=(
                DurabilityPolicy.TRANSIENT_LOCAL if self.latched else DurabilityPolicy.VOLATILE
            ),
        )


SOURCES = (
    RecorderInput(name="world_info", message=WorldInfo, role=Role.WORLD_INFO, latched=True),
    RecorderInput(name="tick", message=Tick, role=Role.TICK),
    RecorderInput(name="joint_states", message=JointState, role=Role.STAMPED),
    RecorderInput(name="command", message=Command, role=Role.ANSWER),
    RecorderInput(name="control_state", message=ControlState, role=Role.ANSWER, latched=True),
    RecorderInput(name="policy/plan", message=PolicyPlan, role=Role.ANSWER),
    RecorderInput(name="operator/command", message=OperatorCommand, role=Role.ANSWER),
    RecorderInput(name="branches/tree", message=BranchTree, role=Role.TREE, latched=True),
)


def camera_sources(cameras: Sequence[str]) -> list[RecorderInput]:
    """Return the topics of the named cameras."""
    sources = []
    for camera in cameras:
        base = f"cameras/{camera}"
        sources += [
            RecorderInput(name=f"{base}/image_raw", message=Image, role=Role.STAMPED),
            RecorderInput(name=f"{base}/camera_info", message=CameraInfo, role=Role.STAMPED),
        ]
    return sources


def pose_sources(poses: Sequence[str]) -> list[RecorderInput]:
    """Return the topics of the named poses of the robot."""
    return [
        RecorderInput(name=pose_stream(name), message=PoseStamped, role=Role.STAMPED)
        for name in poses
    ]


def ground_truth_source(topic: str) -> RecorderInput:
    """Return the topic of the stand-in's ground truth, recorded only for labels and evaluation."""
    return RecorderInput(name=topic, message=GroundTruth, role=Role.STAMPED)
