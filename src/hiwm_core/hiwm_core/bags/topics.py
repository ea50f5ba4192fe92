"""Classifies recorded topics for readers of bags. Names may have any prefix."""

import re
from enum import Enum

from hiwm_core.bags.mcap_file import Channel

_IMAGE = re.compile(r"(?:^|/)cameras/([^/]+)/image_raw$")
# Names that a tick lists, and the camera_info that comes with each image.
_STREAM = re.compile(r"(?:^|/)(cameras/[^/]+/(?:image_raw|camera_info)|poses/[^/]+|joint_states)$")


class Stream(Enum):
    """A kind of topic."""

    TICK = "tick"
    IMAGE = "image"
    JOINT_STATES = "joint_states"
    POSE = "pose"
    COMMAND = "command"
    CONTROL_STATE = "control_state"
    TREE = "tree"
    GROUND_TRUTH = "ground_truth"
    OTHER = "other"


_KINDS = {
    ("tick", "hiwm_interfaces/msg/Tick"): Stream.TICK,
    ("joint_states", "sensor_msgs/msg/JointState"): Stream.JOINT_STATES,
    ("command", "hiwm_interfaces/msg/Command"): Stream.COMMAND,
    ("control_state", "hiwm_interfaces/msg/ControlState"): Stream.CONTROL_STATE,
    ("tree", "hiwm_interfaces/msg/BranchTree"): Stream.TREE,
    ("ground_truth", "hiwm_interfaces/msg/GroundTruth"): Stream.GROUND_TRUTH,
}


def stream(channel: Channel) -> Stream:
    """Return the kind of a topic, by its type and the last part of its name."""
    head, _, name = channel.topic.rpartition("/")
    if camera_name(channel):
        return Stream.IMAGE
    if observation_stream(channel.topic).startswith("poses/"):
        return Stream.POSE
    kind = _KINDS.get((name, channel.message_type), Stream.OTHER)
    # The driver's joint states are raw. The bridge publishes those that belong to ticks.
    if kind is Stream.JOINT_STATES and head.endswith("/driver"):
        return Stream.OTHER
    return kind


def observation_stream(topic: str) -> str:
    """Return the stream of a tick that a topic's messages belong to; empty if to none."""
    found = _STREAM.search(topic)
    if found is None or "/driver/" in topic:
        return ""
    return found.group(1).replace("camera_info", "image_raw")


def camera_name(channel: Channel) -> str:
    """Return the camera whose images a topic carries; empty if it carries none."""
    if channel.message_type != "sensor_msgs/msg/Image":
        return ""
    found = _IMAGE.search(channel.topic)
    return found.group(1) if found and "/driver/" not in channel.topic else ""
