"""The only conversion of messages into arrays, for the live graph and for bags.

Policy, operator, world-model training and bag reading all use this module, so a checkpoint trained
from bags gets the same numbers live. Functions read fields and do not check classes, so they accept
messages from rclpy and from rosbags. The parity test in `hiwm_recording/test/test_recorder_node.py`
checks that both give the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import CameraSpec, Embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.stamps import stamp_ns

# Bytes per pixel of the supported encodings; all are converted to rgb.
ENCODINGS = {"rgb8": 3, "bgr8": 3, "mono8": 1}
# Incomplete observations that are kept. The messages of a step arrive within a few ticks of each
# other, even on a loaded machine; older observations never become complete.
DEFAULT_CAPACITY = 32


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


def proprioception_array(
    names: Sequence[str], positions: Sequence[float], embodiment: Embodiment,
    velocities: Sequence[float] = (), efforts: Sequence[float] = (),
) -> NDArray[np.float32]:
    """Return the proprioception array [P] of joints given in any order.

    Args:
        names: joint names; joints that the embodiment does not name are ignored.
        positions: in rad or m, in the order of `names`.
        embodiment: defines order and fields.
        velocities: in the order of `names`, or empty.
        efforts: in the order of `names`, or empty.

    Raises:
        ConfigError: a joint or field of the embodiment is missing or not finite.
    """
    index = {name: i for i, name in enumerate(names)}
    fields = {"position": positions, "velocity": velocities, "effort": efforts}
    values = np.empty(embodiment.proprio_dim, np.float32)
    for i, entry in enumerate(embodiment.proprioception):
        place = index.get(entry.joint)
        if place is None:
            raise ConfigError(
                f"joint {entry.joint!r} is not in the joint state", where="joint_states",
                remedy=f"it has {', '.join(names) or 'none'}; correct the joints of embodiment "
                f"{embodiment.name}",
            )
        source = fields[entry.field]
        if place >= len(source):
            raise ConfigError(
                f"joint {entry.joint!r} has no {entry.field}", where="joint_states",
                remedy=f"publish it, or correct the fields of embodiment {embodiment.name}",
            )
        values[i] = source[place]
    if not np.isfinite(values).all():
        raise ConfigError(
            f"joint state is not finite: {values.tolist()}", where="joint_states",
            remedy="fix the driver",
        )
    return values


def joint_state_array(message: Any, embodiment: Embodiment) -> NDArray[np.float32]:
    """Return the proprioception array [P] of a sensor_msgs/JointState.

    Raises:
        ConfigError: see `proprioception_array`.
    """
    return proprioception_array(
        message.name, message.position, embodiment, message.velocity, message.effort
    )


def action_array(values: Sequence[float], embodiment: Embodiment) -> NDArray[np.float64]:
    """Return an action array [A] in embodiment order and units.

    Raises:
        ConfigError: wrong length, or a value that is not finite.
    """
    action = np.array(values, np.float64)
    if action.shape != (embodiment.action_dim,):
        raise ConfigError(
            f"action of length {action.size}", where=f"embodiment {embodiment.name}",
            remedy=f"send {embodiment.action_dim} entries",
        )
    if not np.isfinite(action).all():
        raise ConfigError(
            f"action is not finite: {action.tolist()}", where=f"embodiment {embodiment.name}",
            remedy="send finite numbers",
        )
    return action


@dataclass
class _Partial:
    """An incomplete observation."""

    tick: Any = None
    proprio: NDArray[np.float32] | None = None
    images: dict[str, NDArray[np.uint8]] = field(default_factory=dict)


class ObservationAssembler:
    """Collects the messages of each step by header stamp and returns complete observations.

    A world sends its tick last, but DDS does not keep the order between topics: the last message to
    arrive completes the observation. Once a later tick is complete, older incomplete ones are
    dropped and counted, so nothing acts on old data. A repetition of the last returned tick is
    ignored.

    Args:
        embodiment: cameras and joints of a complete observation.
        capacity: incomplete steps to keep.

    Attributes:
        dropped: ticks that never became complete.
    """

    def __init__(self, embodiment: Embodiment, capacity: int = DEFAULT_CAPACITY) -> None:
        self.dropped = 0
        self._embodiment = embodiment
        self._cameras = {camera.name: camera for camera in embodiment.cameras}
        self._capacity = capacity
        self._partials: dict[int, _Partial] = {}
        self._last: tuple[int, int, int] | None = None

    def add_image(self, camera: str, message: Any) -> Observation | None:
        """Add an image of a camera; return the observation it completes, if any.

        Raises:
            ConfigError: the image does not fit the embodiment.
        """
        pixels = image_array(message, self._cameras.get(camera) or self._embodiment.camera(camera))
        stamp = stamp_ns(message.header.stamp)
        self._partial(stamp).images[camera] = np.array(pixels, order="C")
        return self._completed(stamp)

    def add_joint_state(self, message: Any) -> Observation | None:
        """Add a joint state; return the observation it completes, if any.

        Raises:
            ConfigError: the joints do not fit the embodiment.
        """
        proprio = joint_state_array(message, self._embodiment)
        stamp = stamp_ns(message.header.stamp)
        self._partial(stamp).proprio = proprio
        return self._completed(stamp)

    def add_tick(self, message: Any) -> Observation | None:
        """Add a tick; return the observation it completes, if any."""
        stamp = stamp_ns(message.header.stamp)
        if (stamp, message.epoch, message.step) == self._last:
            return None
        self._partial(stamp).tick = message
        return self._completed(stamp)

    def _partial(self, stamp: int) -> _Partial:
        partial = self._partials.get(stamp)
        if partial is None:
            while len(self._partials) >= self._capacity:
                self._forget(next(iter(self._partials)))
            partial = self._partials[stamp] = _Partial()
        return partial

    def _forget(self, stamp: int) -> None:
        self.dropped += self._partials.pop(stamp).tick is not None

    def _completed(self, stamp: int) -> Observation | None:
        partial = self._partials[stamp]
        tick = partial.tick
        if tick is None or partial.proprio is None or len(partial.images) < len(self._cameras):
            return None
        # By arrival, not by stamp: a simulated clock may restart at zero.
        for older in list(self._partials):
            if older == stamp:
                break
            self._forget(older)
        del self._partials[stamp]
        self._last = (stamp, tick.epoch, tick.step)
        return Observation(
            stamp_ns=stamp, epoch=int(tick.epoch), step=int(tick.step),
            episode_id=str(tick.episode_id), branch_id=str(tick.branch_id),
            state_id=str(tick.state_id), trust=float(tick.trust), progress=float(tick.progress),
            success=float(tick.success), images=partial.images, proprio=partial.proprio,
            applied_action=np.array(tick.applied_action, np.float64),
            applied_source=int(tick.applied_source), applied_device=str(tick.applied_device),
        )
