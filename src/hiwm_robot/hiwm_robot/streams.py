"""Data received from a robot's drivers: images, joint states and poses, each with its own stamp.

This module pairs them, tracks their ages, and detects a restarted driver. It keeps stamps, arrival
times and values; the node keeps the images. Tested by ``test_streams.py``.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.frames import JOINT_STATES, camera_stream, pose_stream
from hiwm_core.measured import MeasuredAction, MeasuredPose
from hiwm_core.robot_config import RobotConfig
from hiwm_robot.joint_source import JointSourceState
from hiwm_robot.stream_stamps import RESTART_GAP_NS, Stamped, kind_of

Array = NDArray[np.float64]

# An image waits this long for joint states that are at least as new; robots publish joint states at
# 50 Hz or more. A source that is slower than this is not waited for.
PAIR_WAIT_S = 0.03


@dataclass(kw_only=True)
class Newest:
    """The newest message of a camera or pose stream."""

    stamp_ns: int | None = None
    arrival: float = -np.inf
    unused: str = ""  # why the last message was not used; empty if it was

    def take(self, stamp_ns: int, now: float) -> Stamped:
        """Record a message; return what it is."""
        kind = kind_of(stamp_ns, self.stamp_ns, now - self.arrival)
        self.unused = kind.unused
        if not self.unused:
            self.stamp_ns, self.arrival = stamp_ns, now
        return kind


@dataclass(frozen=True, kw_only=True)
class JointValues:
    """The joints of every source, in the embodiment's names and units."""

    names: list[str]
    position: Array  # [J]
    velocity: Array  # [J]; NaN where a driver gives none
    effort: Array  # [J]


@dataclass(kw_only=True)
class PoseStream:
    """One pose stream."""

    newest: Newest = field(default_factory=Newest)
    pose: MeasuredPose | None = None


class Streams:
    """Newest stamps, arrival times (steady clock, s) and values of one robot.

    Args:
        embodiment: its first camera gives the stamps of ticks.
        robot: sources, maximum ages and pace.
        repeats: the driver is in lock-step: it repeats an observation until a command answers it,
            and so shows that it is there.

    Raises:
        ConfigError: a URDF of the embodiment is missing, or lacks a link or joint.
    """

    def __init__(
        self, embodiment: Embodiment, robot: RobotConfig, *, repeats: bool = False
    ) -> None:
        self._robot = robot
        self._repeats = repeats
        self._measured = MeasuredAction(embodiment)
        # Outputs read the position in their own thread; the kinematics keep results inside.
        self._measuring = threading.Lock()
        self._position: Array | None = None  # None after a message, until it is read
        self._cameras = tuple(camera.name for camera in embodiment.cameras)
        self._same_clock = robot.clock == "same"
        self._images = {camera: Newest() for camera in self._cameras}
        self._sources = {
            name: JointSourceState(source) for name, source in robot.joint_states.items()
        }
        self._poses = {name: PoseStream() for name in robot.poses}
        self._limits = _age_limits(robot)
        self._used_ns: int | None = None
        self._floor_ns = 0

    # What arrives

    def image(self, camera: str, stamp_ns: int, now: float) -> bool:
        """Record an image; return whether it is used."""
        newest = self._images[camera]
        kind = newest.take(stamp_ns, now)
        if kind is Stamped.REPEATED and self._still_shown:
            newest.arrival = now
        if kind is Stamped.RESTARTED:
            # The driver restarted: images of the old one will never arrive.
            self._floor_ns = 0
            self._used_ns = None
            with self._measuring:
                for source in self._sources.values():
                    if self._same_clock and source.stamp_ns > stamp_ns + RESTART_GAP_NS:
                        source.clear()
                        self._position = None
        return not kind.unused

    def joint_state(
        self, source: str, names: Sequence[str], positions: Sequence[float], stamp_ns: int,
        now: float, velocities: Sequence[float] = (), efforts: Sequence[float] = (),
    ) -> str:
        """Record a joint state; return why it cannot be used, or an empty string."""
        with self._measuring:
            self._position = None
            return self._sources[source].message(
                names, positions, velocities, efforts, stamp_ns, now,
                still_shown=self._still_shown,
            )

    def pose(
        self, name: str, position: Sequence[float], quaternion: Sequence[float], frame: str,
        stamp_ns: int, now: float,
    ) -> str:
        """Record a pose; return why it cannot be used, or an empty string."""
        expected = self._robot.poses[name].frame
        if expected and frame != expected:
            return f"pose is in frame {frame!r}, the robot file says {expected!r}"
        if not (np.isfinite(position).all() and abs(np.linalg.norm(quaternion) - 1.0) < 0.1):
            return "pose is not finite, or has no rotation"
        stream = self._poses[name]
        with self._measuring:
            if not stream.newest.take(stamp_ns, now).unused:
                stream.pose = MeasuredPose(position=position, quaternion=quaternion)
                self._position = None
        return ""

    # What has arrived

    @property
    def position(self) -> Array | None:
        """Newest measured position [A], embodiment order and units; None before the first.

        It is computed once after each message: outputs read it at their own rate, and kinematics
        cost more than the rest of an output.
        """
        with self._measuring:
            if self._position is None and self._state_complete:
                self._position = self._computed_position()
            return self._position

    def _computed_position(self) -> Array | None:
        joints = {
            name: float(value) for source in self._sources.values()
            for name, value in zip(source.names, source.position, strict=True)
        }
        poses = {name: stream.pose for name, stream in self._poses.items() if stream.pose}
        try:
            position = self._measured.array(joints, poses)
        except ConfigError:
            return None  # a pose that no rotation fits; `pose` reports it
        position.flags.writeable = False
        return position

    @property
    def joints(self) -> JointValues:
        """The newest joints of every source."""
        sources = list(self._sources.values())
        return JointValues(
            names=[name for source in sources for name in source.names],
            position=np.concatenate([source.position for source in sources]),
            velocity=np.concatenate([source.velocity for source in sources]),
            effort=np.concatenate([source.effort for source in sources]),
        )

    @property
    def image_stamp_ns(self) -> int:
        """Stamp of the newest image of the first camera."""
        stamp = self._images[self._cameras[0]].stamp_ns
        assert stamp is not None  # checked by ready()
        return stamp

    def stamps(self) -> dict[str, int]:
        """Return the stamp of each stream as ticks list it, ns.

        ``joint_states`` has the stamp of its newest part. With several sources, the stamp of each
        is listed as well.
        """
        listed = {
            camera_stream(name): newest.stamp_ns or 0 for name, newest in self._images.items()
        }
        listed[JOINT_STATES] = max(source.newest_ns for source in self._sources.values())
        if len(self._sources) > 1:
            listed |= {
                f"{JOINT_STATES}/{name}": one.newest_ns for name, one in self._sources.items()
            }
        listed |= {
            pose_stream(name): stream.newest.stamp_ns or 0 for name, stream in self._poses.items()
        }
        return listed

    @property
    def pose_names(self) -> tuple[str, ...]:
        """Names of the pose streams."""
        return tuple(self._poses)

    def missing_joints(self, source: str) -> list[str]:
        """Return the joints of a source that have not been seen, by the driver's names."""
        return self._sources[source].missing

    # Observations

    def require(self, not_before_ns: int, *, again: bool = False) -> None:
        """Use no image stamped before this for the next tick.

        Args:
            not_before_ns: the earliest stamp.
            again: the newest image may be used although it was used before.
        """
        self._floor_ns = not_before_ns
        if again:
            self._used_ns = None

    @property
    def unused(self) -> bool:
        """Whether every stream has been heard, with images that no tick has used yet."""
        if not self.complete:
            return False
        if any((newest.stamp_ns or 0) < self._floor_ns for newest in self._images.values()):
            return False
        if self._robot.pace == "timer":
            return True
        return self._images[self._cameras[0]].stamp_ns != self._used_ns

    @property
    def _still_shown(self) -> bool:
        """Whether a repeated message is of an observation that waits for its first tick."""
        return self._repeats and self._images[self._cameras[0]].stamp_ns != self._used_ns

    def paired(self, now: float) -> bool:
        """Return whether the first camera's image waits for no joint states any more."""
        newest = self._images[self._cameras[0]]
        if self._robot.pace == "timer" or not self._same_clock:
            return True
        return now - newest.arrival >= PAIR_WAIT_S or all(
            source.stamp_ns >= self.image_stamp_ns or source.period_s > PAIR_WAIT_S
            for source in self._sources.values()
        )

    def take(self) -> Array | None:
        """Mark the newest observation as used, and return its position [A]."""
        self._used_ns = self.image_stamp_ns
        return self.position

    @property
    def complete(self) -> bool:
        """Whether every stream has been heard."""
        return self._state_complete and all(
            newest.stamp_ns is not None for newest in self._images.values()
        )

    @property
    def _state_complete(self) -> bool:
        return all(source.complete for source in self._sources.values()) and all(
            stream.pose is not None for stream in self._poses.values()
        )

    # Ages

    def ages(self, now: float) -> dict[str, float]:
        """Return seconds since each stream's last used arrival; infinite before the first."""
        ages = {f"camera {name}": now - newest.arrival for name, newest in self._images.items()}
        ages |= {
            f"joint states {name}": source.age(now) for name, source in self._sources.items()
        }
        ages |= {
            f"pose {name}": now - stream.newest.arrival for name, stream in self._poses.items()
        }
        return ages

    def stale_reason(self, now: float, since: float) -> str:
        """Return which streams are too old, or an empty string.

        Args:
            now: steady clock [s].
            since: earliest time from which age counts, steady clock [s].
        """
        unused = self._unused()
        late = []
        for name, age in self.ages(now).items():
            if min(age, now - since) > self._limits[name]:
                why = f" ({unused[name]})" if unused[name] else ""
                late.append(f"no {name} for over {self._limits[name]:g} s{why}")
        return "; ".join(late)

    def _unused(self) -> Mapping[str, str]:
        """Return why each stream's last message was not used; empty if it was."""
        reasons = {f"camera {name}": newest.unused for name, newest in self._images.items()}
        reasons |= {f"joint states {name}": one.unused for name, one in self._sources.items()}
        return reasons | {f"pose {name}": one.newest.unused for name, one in self._poses.items()}


def _age_limits(robot: RobotConfig) -> dict[str, float]:
    """Return each stream's maximum age, s."""
    limits = {f"camera {name}": camera.stale_after_s for name, camera in robot.cameras.items()}
    limits |= {
        f"joint states {name}": source.stale_after_s for name, source in robot.joint_states.items()
    }
    limits |= {f"pose {name}": pose.stale_after_s for name, pose in robot.poses.items()}
    return {name: robot.stale_after_s if own is None else own for name, own in limits.items()}
