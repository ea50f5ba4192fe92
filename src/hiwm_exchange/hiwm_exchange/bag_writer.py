"""Writes a segment's arrays as a bag, so that everything that reads recorded bags reads it.

All streams of a tick get the tick's stamp. Joint states and poses are made from proprioception.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.bags import Audit, Segment, audit_bag, open_bag
from hiwm_core.bags.disk import disk_refusal
from hiwm_core.bags.schema import recording_types
from hiwm_core.bags.writer import Topic
from hiwm_core.embodiment import ActionGroup, Embodiment
from hiwm_core.errors import BagError
from hiwm_core.frames import camera_stream, observation_streams, pose_stream
from hiwm_core.rotations import matrix_from_6d, matrix_from_vector, quaternion_from_matrix
from hiwm_core.tasks import parse_task

SENDER = "import"
_TYPES = {
    "tick": "hiwm_interfaces/msg/Tick", "world_info": "hiwm_interfaces/msg/WorldInfo",
    "joint_states": "sensor_msgs/msg/JointState", "image": "sensor_msgs/msg/Image",
    "pose": "geometry_msgs/msg/PoseStamped",
}


def write_bag(bags: Path, segment: Segment) -> Audit:
    """Write a segment into a folder of bags, audit it, and return the audit.

    Args:
        bags: the folder.
        segment: its lineage names the bag.

    Raises:
        BagError: the disk refuses, or the bag exists.
    """
    lineage = segment.lineage
    path = bags / f"{lineage.branch_id}_e{lineage.epoch:04d}"
    try:
        bag = open_bag(path, lineage.custom_data())
        for name, kind, stamp_ns, value in _messages(segment):
            raw = bytes(recording_types().serialize_cdr(value, kind))
            bag.write(
                Topic(name=f"/hiwm/{name}", message_type=kind, latched=name == "world_info"),
                stamp_ns, raw,
            )
        bag.close(lineage.custom_data())
        audit = audit_bag(path)
        audit.save(path)
    except OSError as error:
        raise BagError(
            disk_refusal(error, path), where=str(path), remedy="make room there and import again"
        ) from error
    return audit


def _messages(segment: Segment) -> Iterator[tuple[str, str, int, Any]]:
    """Yield topic, type, time and content of every message, in the order of a world."""
    embodiment = segment.embodiment
    yield "world_info", _TYPES["world_info"], int(segment.stamps_ns[0]), _world_info(segment)
    states = _RobotMessages(embodiment)
    streams = observation_streams(
        [camera.name for camera in embodiment.cameras], embodiment.pose_names
    )
    for t, stamp_ns in enumerate(segment.stamps_ns.tolist()):
        for camera in embodiment.cameras:
            yield (camera_stream(camera.name), _TYPES["image"], stamp_ns,
                   _image(segment.observations[camera.name][t], stamp_ns, camera.name))
        yield ("joint_states", _TYPES["joint_states"], stamp_ns,
               states.joints(segment.proprio[t], stamp_ns))
        for name in embodiment.pose_names:
            yield (pose_stream(name), _TYPES["pose"], stamp_ns,
                   states.pose(name, segment.measured[t], stamp_ns))
        yield "tick", _TYPES["tick"], stamp_ns, _tick(segment, t, stamp_ns, streams)


def _tick(segment: Segment, t: int, stamp_ns: int, streams: list[str]) -> Any:
    lineage = segment.lineage
    action = segment.actions[t - 1] if t else np.zeros(0)
    stamps = [_header(stamp_ns).stamp for _ in streams]
    return _message(
        _TYPES["tick"], header=_header(stamp_ns), epoch=segment.epoch, step=int(segment.steps[t]),
        episode_id=lineage.episode_id, branch_id=lineage.branch_id,
        started_from=lineage.started_from, state_id=segment.state_ids[t],
        trust=float(segment.trust[t]), progress=float(segment.progress[t]),
        success=float(segment.success[t]), applied_action=_floats(action),
        applied_source=int(segment.source[t - 1]) if t else 0,
        applied_device=segment.device[t - 1] if t else "", applied_note="", sender=SENDER,
        streams=streams, stream_stamps=stamps,
        control_period_s=1e-9 * float(stamp_ns - segment.stamps_ns[t - 1]) if t else 0.0,
    )


def _world_info(segment: Segment) -> Any:
    lineage, embodiment = segment.lineage, segment.embodiment
    task = parse_task(lineage.task_yaml, "task of the segment")
    cameras = [camera.name for camera in embodiment.cameras]
    return _message(
        _TYPES["world_info"], header=_header(int(segment.stamps_ns[0])), kind=lineage.world,
        robot=lineage.robot, stand_in=lineage.stand_in, rate=1.0 / lineage.period_s,
        control_period_s=lineage.period_s, lockstep=False,
        streams=observation_streams(cameras, embodiment.pose_names), cameras=cameras,
        camera_widths=np.array([camera.width for camera in embodiment.cameras], np.uint32),
        camera_heights=np.array([camera.height for camera in embodiment.cameras], np.uint32),
        embodiment=embodiment.name, embodiment_hash=embodiment.hash,
        embodiment_yaml=embodiment.text, task=lineage.task, task_hash=lineage.task_hash,
        task_yaml=lineage.task_yaml, instruction=task.instruction,
        start_names=list(task.start_names), labels=list(task.labels), can_restore=False,
        can_fork=False, auto_reset=False, heads=[], checkpoint_hash="",
        session_id=lineage.session_id, software_version=lineage.software_version,
    )


class _RobotMessages:
    """Joint states and poses from which the same arrays are read again."""

    def __init__(self, embodiment: Embodiment) -> None:
        self._embodiment = embodiment
        self._joints = list(embodiment.joint_names)
        self._fields = {
            field: [
                (i, self._joints.index(entry.joint))
                for i, entry in enumerate(embodiment.proprioception)
                if entry.joint and entry.field == field
            ]
            for field in ("position", "velocity", "effort")
        }
        self._poses = {
            group.measured.pose: group for group in embodiment.groups
            if group.measured.source == "pose"
        }

    def joints(self, proprio: NDArray[np.float32], stamp_ns: int) -> Any:
        """Return the joint state of a proprioception array [P]."""
        fields = {}
        for field, places in self._fields.items():
            values = np.zeros(len(self._joints) if places else 0)
            for entry, joint in places:
                values[joint] = proprio[entry]
            fields[field] = values
        return _message(
            _TYPES["joint_states"], header=_header(stamp_ns), name=self._joints, **fields
        )

    def pose(self, name: str, measured: NDArray[np.float32], stamp_ns: int) -> Any:
        """Return a pose stream's message from the measured action [A]."""
        group = self._poses[name]
        values = measured[group.slice].astype(np.float64)
        x, y, z, w = _quaternion(group, values)
        kind = "geometry_msgs/msg/"
        return _message(
            _TYPES["pose"], header=_header(stamp_ns), pose=_message(
                f"{kind}Pose",
                position=_message(
                    f"{kind}Point", x=float(values[0]), y=float(values[1]), z=float(values[2])
                ),
                orientation=_message(f"{kind}Quaternion", x=x, y=y, z=z, w=w),
            ),
        )


def _quaternion(group: ActionGroup, values: NDArray[np.float64]) -> list[float]:
    """Return the quaternion x, y, z, w of a group's entries; without a rotation, none turned."""
    if group.rotation == "6d":
        return [float(one) for one in quaternion_from_matrix(matrix_from_6d(values[3:9]))]
    if group.rotation == "yaw":
        turned = matrix_from_vector([0.0, 0.0, float(values[3])])
        return [float(one) for one in quaternion_from_matrix(turned)]
    return [0.0, 0.0, 0.0, 1.0]


def _image(pixels: NDArray[np.uint8], stamp_ns: int, camera: str) -> Any:
    height, width = pixels.shape[:2]
    return _message(
        _TYPES["image"], header=_header(stamp_ns, camera), height=height, width=width,
        encoding="rgb8", is_bigendian=0, step=3 * width,
        data=np.ascontiguousarray(pixels).reshape(-1),
    )


def _message(kind: str, /, **fields: Any) -> Any:
    return recording_types().types[kind](**fields)


def _header(stamp_ns: int, frame_id: str = "") -> Any:
    stamp = _message(
        "builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9
    )
    return _message("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def _floats(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(values, np.float64)
