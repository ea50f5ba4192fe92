"""Servo counts as angles and openings. Pure. Tested by ``test_leader_angles.py``."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hiwm_core.errors import DeviceError
from hiwm_teleop.leader.calibration_file import CalibratedServo, Calibration
from hiwm_teleop.leader.leader_file import ArmFile
from hiwm_teleop.leader.servo_models import COUNTS_PER_TURN

RAD_PER_COUNT = math.tau / COUNTS_PER_TURN
# A joint farther outside its calibrated range means that the arm was taken apart since, or is
# another one. About 11 degrees: people do not reach the very ends during calibration.
_BEYOND_COUNTS = 128


@dataclass(frozen=True, kw_only=True)
class JointAngle:
    """The angle of one leader joint."""

    rad: float  # equals pose_rad of the device file in the calibration pose
    share: float  # fraction of its range, 0..1; a gripper's opening


def nearest_turn(counts: int, to: float) -> int:
    """Return the counts, shifted by whole turns to be nearest to `to`."""
    return counts - COUNTS_PER_TURN * round((counts - to) / COUNTS_PER_TURN)


class JointAngles:
    """Angles of one arm, without jumps where a servo's counts wrap.

    Servos report their position within a turn, some plus whole turns since power-on. The first
    reading is assigned to the turn nearest to the middle of the calibrated range, each further one
    to the turn nearest to the previous reading.

    Args:
        arm: from the device file.
        calibration: of this arm.
    """

    def __init__(self, arm: ArmFile, calibration: Calibration) -> None:
        self._servos: dict[str, CalibratedServo] = {
            joint: calibration.joints[joint] for joint in arm.servos
        }
        self._pose = {name: joint.pose_rad for name, joint in arm.joints.items()}
        self._last: dict[str, int] = {}

    def forget(self) -> None:
        """Reset: the arm was lost, and may have been switched off."""
        self._last = {}

    def angles(self, counts: Sequence[int]) -> Mapping[str, JointAngle]:
        """Return the angles for a reading of all servos, in the order of the arm's servos."""
        found = {}
        for (joint, servo), raw in zip(self._servos.items(), counts, strict=True):
            angle = servo.sign * (raw - servo.zero)
            middle = (servo.lower + servo.upper) / 2.0
            angle = nearest_turn(angle, self._last.get(joint, middle))
            self._last[joint] = angle
            share = (angle - servo.lower) / (servo.upper - servo.lower)
            found[joint] = JointAngle(
                rad=self._pose.get(joint, 0.0) + angle * RAD_PER_COUNT,
                share=min(max(share, 0.0), 1.0),
            )
        return found

    def check_range(self, counts: Sequence[int], where: str) -> None:
        """Raise DeviceError if a joint is outside its calibrated range."""
        for (joint, servo), raw in zip(self._servos.items(), counts, strict=True):
            angle = nearest_turn(
                servo.sign * (raw - servo.zero), (servo.lower + servo.upper) / 2.0
            )
            beyond = max(servo.lower - angle, angle - servo.upper)
            if beyond > _BEYOND_COUNTS:
                raise DeviceError(
                    f"{joint} is {math.degrees(beyond * RAD_PER_COUNT):.0f} degrees outside its "
                    "calibrated range", where=where,
                    remedy="move it back, or calibrate this arm again with --overwrite",
                )
