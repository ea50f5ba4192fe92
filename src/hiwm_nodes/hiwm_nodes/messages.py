"""Messages from arrays, and stamps as integers."""

import array
from collections.abc import Iterable, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from hiwm_interfaces.msg import Tick
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image, JointState

from hiwm_core.measured import MeasuredPose


def time_message(nanoseconds: int) -> Time:
    """Return nanoseconds as a Time message."""
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def stamp_tick(tick: Tick, stamp: Time, streams: Sequence[str]) -> None:
    """Give a tick, and every stream that its observation is made of, one stamp."""
    tick.header.stamp = stamp
    tick.streams = list(streams)
    tick.stream_stamps = [stamp] * len(streams)


def image_message(pixels: NDArray[np.uint8], stamp: Time, frame_id: str) -> Image:
    """Return an rgb8 Image of pixels [H, W, 3]."""
    message = Image()
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    message.height, message.width = pixels.shape[:2]
    message.encoding = "rgb8"
    message.step = pixels.shape[1] * 3
    # rclpy takes an array.array as is; it checks a list or bytes element by element.
    message.data = array.array("B", np.ascontiguousarray(pixels).tobytes())
    return message


def camera_info_message(width: int, height: int, stamp: Time, frame_id: str) -> CameraInfo:
    """Return a CameraInfo with the image size; calibration is unknown."""
    message = CameraInfo(width=width, height=height)
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    return message


def joint_state_message(
    names: Sequence[str], positions: Iterable[float], stamp: Time, frame_id: str = "",
    velocities: Iterable[float] = (), efforts: Iterable[float] = (),
) -> JointState:
    """Return a JointState, positions in rad or m."""
    message = JointState(
        name=list(names), position=[float(p) for p in positions],
        velocity=[float(v) for v in velocities], effort=[float(e) for e in efforts],
    )
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    return message


def pose_message(pose: MeasuredPose, stamp: Time, frame_id: str = "") -> PoseStamped:
    """Return a PoseStamped, m."""
    message = PoseStamped()
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    at, turn = message.pose.position, message.pose.orientation
    at.x, at.y, at.z = (float(value) for value in np.asarray(pose.position))
    turn.x, turn.y, turn.z, turn.w = (float(value) for value in np.asarray(pose.quaternion))
    return message
