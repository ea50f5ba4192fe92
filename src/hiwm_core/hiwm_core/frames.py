"""The only conversion of messages into arrays, for the live graph and for bags.

Policy, operator, world-model training and bag reading all use this module, so a checkpoint trained
from bags gets the same numbers live. Functions read fields and do not check classes, so they accept
messages from rclpy and from rosbags. The parity test in `hiwm_recording/test/test_recorder_node.py`
checks that both give the same bytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import CameraSpec, Embodiment
from hiwm_core.errors import BagError, ConfigError
from hiwm_core.formats import MIGRATE
from hiwm_core.measured import MeasuredAction, MeasuredPose
from hiwm_core.stamps import stamp_ns

JOINT_STATES = "joint_states"
# Bytes per pixel of the supported encodings; all are converted to rgb.
ENCODINGS = {"rgb8": 3, "bgr8": 3, "mono8": 1}
# Incomplete ticks that are kept. The messages of a step arrive within a few ticks of each
# other, even on a loaded machine; older observations never become complete.
DEFAULT_CAPACITY = 32


def camera_stream(camera: str) -> str:
    """Return the topic of a camera's images, as ticks list it."""
    return f"cameras/{camera}/image_raw"


def pose_stream(pose: str) -> str:
    """Return the topic of a pose of the robot, as ticks list it."""
    return f"poses/{pose}"


def observation_streams(cameras: Iterable[str], poses: Iterable[str] = ()) -> list[str]:
    """Return the topics that an observation is made of, as WorldInfo and ticks list them."""
    return [*map(camera_stream, cameras), JOINT_STATES, *map(pose_stream, poses)]


def stream_stamps(tick: Any) -> dict[str, int]:
    """Return the stamp of the message of each stream that a tick's observation is made of, ns.

    Raises:
        BagError: a recorded tick of an earlier version.
    """
    if not hasattr(tick, "streams"):
        raise BagError(
            "ticks without the stamps of their streams, of an earlier version of hiwm",
            remedy=MIGRATE,
        )
    return {
        str(stream): stamp_ns(stamp)
        for stream, stamp in zip(tick.streams, tick.stream_stamps, strict=False)
    }


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The observation of a world at one tick."""

    stamp_ns: int
    epoch: int
    step: int
    episode_id: str
    branch_id: str
    state_id: str
    trust: float
    progress: float  # NaN where unknown
    success: float  # NaN where unknown
    images: dict[str, NDArray[np.uint8]]  # camera -> [H, W, 3] rgb
    proprio: NDArray[np.float32]  # [P], embodiment order and units
    measured: NDArray[np.float64]  # [A], measured counterpart of the action
    applied_action: NDArray[np.float64]  # [A], or [0] on the first tick of an epoch
    applied_source: int  # Command.SOURCE_*
    applied_device: str


def image_array(message: Any, camera: CameraSpec | None = None) -> NDArray[np.uint8]:
    """Return the pixels of a sensor_msgs/Image, rgb, [H, W, 3].

    The array may share the message's memory; copy it before changing it.

    Args:
        message: an Image of rclpy or rosbags.
        camera: the embodiment's camera; None checks only that the message is consistent.

    Raises:
        ConfigError: unknown encoding, rows or data too short, or a size other than the camera's.
    """
    height, width, step = int(message.height), int(message.width), int(message.step)
    where = f"camera {camera.name}" if camera else "image"
    channels = ENCODINGS.get(message.encoding)
    if channels is None:
        raise ConfigError(
            f"image encoding {message.encoding!r}", where=where,
            remedy=f"publish one of {', '.join(ENCODINGS)}",
        )
    if camera is not None and (width, height) != (camera.width, camera.height):
        raise ConfigError(
            f"image of {width}x{height} px, but the embodiment has {camera.width}x{camera.height}",
            where=where, remedy="correct the camera's size in the embodiment, or the publisher",
        )
    row = width * channels
    data = np.frombuffer(message.data, np.uint8)
    if step < row or data.size < step * height:
        raise ConfigError(
            f"image of {width}x{height} {message.encoding} with step {step} and {data.size} bytes",
            where=where, remedy=f"step must be at least {row} and data step x height bytes",
        )
    pixels = data[: step * height].reshape(height, step)[:, :row].reshape(height, width, channels)
    if message.encoding == "bgr8":
        return pixels[:, :, ::-1]
    if message.encoding == "mono8":
        return np.repeat(pixels, 3, axis=2)
    return pixels


@dataclass(frozen=True, kw_only=True)
class JointValues:
    """The fields of a sensor_msgs/JointState, where there is no message."""

    name: Sequence[str]
    position: Sequence[float]
    velocity: Sequence[float] = ()
    effort: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class RobotReading:
    """The robot at one moment, in the embodiment's order and units."""

    proprio: NDArray[np.float32]  # [P]
    measured: NDArray[np.float64]  # [A], measured counterpart of the action


class RobotReader:
    """Turns a joint state and poses into proprioception and the measured action.

    Args:
        embodiment: defines order, fields and sources.

    Raises:
        ConfigError: a URDF is missing, or lacks a link or joint.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self._embodiment = embodiment
        self._measured = MeasuredAction(embodiment)
        self._fields = [
            (i, entry.joint, entry.field)
            for i, entry in enumerate(embodiment.proprioception) if entry.joint
        ]
        index = {entry.name: i for i, entry in enumerate(embodiment.actions)}
        self._copied = [
            (i, index[entry.action])
            for i, entry in enumerate(embodiment.proprioception) if entry.action
        ]

    def read(self, joints: Any, poses: Mapping[str, Any] | None = None) -> RobotReading:
        """Return the arrays of joints and poses.

        Args:
            joints: a sensor_msgs/JointState or `JointValues`; joints in any order, those that the
                embodiment does not name are ignored.
            poses: geometry_msgs/PoseStamped by stream.

        Raises:
            ConfigError: a joint, field or pose of the embodiment is missing or not finite.
        """
        measured = self._measured.joint_state(
            joints, {name: _pose(message) for name, message in (poses or {}).items()}
        )
        place = {name: i for i, name in enumerate(joints.name)}
        fields = {
            "position": joints.position, "velocity": joints.velocity, "effort": joints.effort,
        }
        values = np.empty(self._embodiment.proprio_dim, np.float32)
        for i, joint, field in self._fields:
            values[i] = self._value(joint, field, place, fields)
        for i, column in self._copied:
            values[i] = measured[column]
        if not np.isfinite(values).all():
            raise ConfigError(
                f"joint state is not finite: {values.tolist()}", where=JOINT_STATES,
                remedy="fix the driver",
            )
        return RobotReading(proprio=values, measured=measured)

    def _value(
        self, joint: str, field: str, place: Mapping[str, int], fields: Mapping[str, Any]
    ) -> float:
        if joint not in place:
            raise ConfigError(
                f"joint {joint!r} is not in the joint state", where=JOINT_STATES,
                remedy=f"it has {', '.join(place) or 'none'}; correct the joints of embodiment "
                f"{self._embodiment.name}",
            )
        source = fields[field]
        if place[joint] >= len(source):
            raise ConfigError(
                f"joint {joint!r} has no {field}", where=JOINT_STATES,
                remedy=f"publish it, or correct the fields of embodiment {self._embodiment.name}",
            )
        return float(source[place[joint]])


def _pose(message: Any) -> MeasuredPose:
    at, turn = message.pose.position, message.pose.orientation
    return MeasuredPose(
        position=[at.x, at.y, at.z], quaternion=[turn.x, turn.y, turn.z, turn.w]
    )


class ObservationAssembler:
    """Collects the messages of each tick and returns complete observations.

    A tick lists the streams that its observation is made of, each with the stamp of its message. A
    world sends its tick last, but DDS does not keep the order between topics: the last message to
    arrive completes the observation. A slow stream's message may belong to several ticks. Once a
    later tick is complete, older incomplete ones are dropped and counted, so nothing acts on old
    data. A repetition of the last returned tick is ignored.

    Args:
        embodiment: cameras and joints of a complete observation.
        capacity: incomplete ticks, and messages of each stream, to keep.

    Attributes:
        dropped: ticks that never became complete.
    """

    def __init__(self, embodiment: Embodiment, capacity: int = DEFAULT_CAPACITY) -> None:
        self.dropped = 0
        self._embodiment = embodiment
        self._cameras = {camera.name: camera for camera in embodiment.cameras}
        self._capacity = capacity
        self._robot = RobotReader(embodiment)
        self._poses = {name: pose_stream(name) for name in embodiment.pose_names}
        self._needed = observation_streams(self._cameras, self._poses)
        # By stream and stamp, and by tick, in the order of arrival: a simulated clock may restart
        # at zero.
        self._seen: dict[str, dict[int, Any]] = {stream: {} for stream in self._needed}
        self._ticks: dict[tuple[int, int, int], Any] = {}
        self._last: tuple[int, int, int] | None = None

    @property
    def incomplete(self) -> bool:
        """Whether a tick lacks messages."""
        return bool(self._ticks)

    def add_image(self, camera: str, message: Any) -> Observation | None:
        """Add an image of a camera; return the observation it completes, if any.

        Raises:
            ConfigError: the image does not fit the embodiment.
        """
        pixels = image_array(message, self._cameras.get(camera) or self._embodiment.camera(camera))
        return self._add(camera_stream(camera), message, np.array(pixels, order="C"))

    def add_joint_state(self, message: Any) -> Observation | None:
        """Add a joint state; return the observation it completes, if any.

        Raises:
            ConfigError: the joints or poses do not fit the embodiment.
        """
        return self._add(JOINT_STATES, message, message)

    def add_pose(self, pose: str, message: Any) -> Observation | None:
        """Add a geometry_msgs/PoseStamped of a stream; return the observation it completes, if any.

        Raises:
            ConfigError: the joints or poses do not fit the embodiment.
        """
        return self._add(pose_stream(pose), message, message)

    def add_tick(self, message: Any) -> Observation | None:
        """Add a tick; return the observation it completes, if any."""
        key = (stamp_ns(message.header.stamp), int(message.epoch), int(message.step))
        if key == self._last:
            return None
        self._ticks.pop(key, None)
        self._ticks[key] = message
        if len(self._ticks) > self._capacity:
            self._forget(next(iter(self._ticks)))
        return self._completed()

    def _add(self, stream: str, message: Any, value: Any) -> Observation | None:
        seen = self._seen[stream]
        stamp = stamp_ns(message.header.stamp)
        seen.pop(stamp, None)
        seen[stamp] = value
        if len(seen) > self._capacity:
            del seen[next(iter(seen))]
        return self._completed()

    def _forget(self, key: tuple[int, int, int]) -> None:
        del self._ticks[key]
        self.dropped += 1

    def _completed(self) -> Observation | None:
        """Return the observation of the newest complete tick, and drop everything older."""
        for key in reversed(self._ticks):
            stamps = stream_stamps(self._ticks[key])
            if all(stamps.get(stream) in self._seen[stream] for stream in self._needed):
                break
        else:
            return None
        parts = {stream: self._seen[stream][stamps[stream]] for stream in self._needed}
        robot = self._robot.read(
            parts[JOINT_STATES], {name: parts[stream] for name, stream in self._poses.items()}
        )
        for older in list(self._ticks):
            if older == key:
                break
            self._forget(older)
        tick = self._ticks.pop(key)
        for stream, seen in self._seen.items():
            for stamp in list(seen):
                if stamp == stamps[stream]:
                    break  # kept: it may belong to the next tick as well
                del seen[stamp]
        self._last = key
        return Observation(
            stamp_ns=key[0], epoch=key[1], step=key[2],
            episode_id=str(tick.episode_id), branch_id=str(tick.branch_id),
            state_id=str(tick.state_id), trust=float(tick.trust), progress=float(tick.progress),
            success=float(tick.success),
            images={camera: parts[camera_stream(camera)] for camera in self._cameras},
            proprio=robot.proprio, measured=robot.measured,
            applied_action=np.array(tick.applied_action, np.float64),
            applied_source=int(tick.applied_source), applied_device=str(tick.applied_device),
        )
