"""A bag as a lab records it: raw driver topics of the stand-in's robot file, without ticks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hiwm_core.bags import Topic, open_bag
from hiwm_core.bags.schema import recording_types
from hiwm_test_support.exchange_data import picture

JOINTS = ["right_x_joint", "left_x_joint", "left_y_joint", "right_y_joint"]
SECOND = 10**9
TRAJECTORY = "/lab/driver/arm_controller/joint_trajectory"


def message(kind: str, /, **fields: Any) -> tuple[str, bytes]:
    """Return type and bytes of a message."""
    types = recording_types()
    return kind, bytes(types.serialize_cdr(types.types[kind](**fields), kind))


def header(now_ns: int) -> Any:
    """Return a header with a stamp."""
    types = recording_types().types
    stamp = types["builtin_interfaces/msg/Time"](sec=now_ns // SECOND, nanosec=now_ns % SECOND)
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id="")


def joints(now_ns: int, value: float) -> tuple[str, bytes]:
    """Return a joint state."""
    return message(
        "sensor_msgs/msg/JointState", header=header(now_ns), name=JOINTS,
        position=np.array([0.02, 0.0, 0.01, 0.03]) + value, velocity=np.zeros(0),
        effort=np.zeros(0),
    )


def image(now_ns: int, step: int) -> tuple[str, bytes]:
    """Return an image of the driver's camera."""
    pixels = picture(step).repeat(2, 0).repeat(2, 1)  # the driver's camera is larger
    return message(
        "sensor_msgs/msg/Image", header=header(now_ns), height=192, width=192, encoding="rgb8",
        is_bigendian=0, step=576, data=pixels.ravel(),
    )


def trajectory(now_ns: int, *points: tuple[float, float]) -> tuple[str, bytes]:
    """Return a trajectory of points: a value, and its time from the start in s."""
    types = recording_types().types
    return message(
        "trajectory_msgs/msg/JointTrajectory", header=header(now_ns), joint_names=JOINTS,
        points=[types["trajectory_msgs/msg/JointTrajectoryPoint"](
            positions=np.array([0.02, 0.0, 0.01, 0.03]) + value, velocities=np.zeros(0),
            accelerations=np.zeros(0), effort=np.zeros(0),
            time_from_start=types["builtin_interfaces/msg/Duration"](
                sec=int(after_s), nanosec=round(1e9 * (after_s % 1.0))
            ),
        ) for value, after_s in points],
    )


def raw_bag(
    path: Path, *, commands: int = 30, pause: bool = False,
    more: Sequence[tuple[int, str, tuple[str, bytes]]] = (),
) -> Path:
    """Record 3 s: joints at 100 Hz, the camera at 15 Hz, commands at 10 Hz, 30 ms after a tick.

    Args:
        path: folder of the bag.
        commands: number of them.
        pause: without images in the second second.
        more: time since the start in ns, topic, type and bytes of further messages.
    """
    bag = open_bag(path, {})
    sent: list[tuple[int, str, tuple[str, bytes]]] = list(more)
    for k in range(300):
        sent.append((k * 10_000_000, "/lab/driver/joint_states", joints(k * 10_000_000, k * 1e-4)))
    for k in range(45):
        at = k * SECOND // 15
        if not (pause and SECOND <= at < 2 * SECOND):
            sent.append((at, "/lab/driver/camera_top/image_raw", image(at, k)))
    for k in range(commands):
        sent.append((
            k * SECOND // 10 + 30_000_000, TRAJECTORY, trajectory(0, (k * 1e-3 + 5e-4, 0.0))
        ))
    for at, topic, (kind, raw) in sorted(sent, key=lambda one: one[0]):
        bag.write(Topic(name=topic, message_type=kind), 100 * SECOND + at, raw)
    bag.close({})
    return path
