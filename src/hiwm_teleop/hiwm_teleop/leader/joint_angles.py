"""Counts of servos as angles and openings. Pure; held by ``test_leader_angles.py``."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hiwm_core.errors import DeviceError
from hiwm_teleop.leader.calibration_file import CalibratedServo, Calibration
from hiwm_teleop.leader.leader_file import ArmFile
from hiwm_teleop.leader.servo_models import COUNTS_PER_TURN

RAD_PER_COUNT = math.tau / COUNTS_PER_TURN
# An arm whose joint stands farther outside the range it was calibrated in was taken apart since, or
# is another one. About 11 degrees: people do not reach the very ends while calibrating.
_BEYOND_COUNTS = 128


@dataclass(frozen=True, kw_only=True)
class JointAngle:
    """Where one joint of a leader is."""

    rad: float  # pose_rad of the device file where it was held for calibration
    share: float  # of its range, 0..1; a gripper's opening


def nearest_turn(counts: int, to: float) -> int:
    """Return the counts plus or minus whole turns that are nearest to a place."""
    return counts - COUNTS_PER_TURN * round((counts - to) / COUNTS_PER_TURN)


class JointAngles:
    """Angles of one arm, which do not jump where a servo's counts begin again.

    Servos report their place in a turn, some with whole turns added since they were switched on.
    The first reading is put into the turn nearest to the middle of the calibrated range, each
    further one into the turn nearest to the one before.

    Args:
        arm: of the device file.
        calibration: of this arm.
    """

    def __init__(self, arm: ArmFile, calibration: Calibration) -> None:
        self._servos: dict[str, CalibratedServo] = {
            joint: calibration.joints[joint] for joint in arm.servos
        }
        self._pose = {name: joint.pose_rad for name, joint in arm.joints.items()}
        self._last: dict[str, int] = {}

    def forget(self) -> None:
        """Begin again: the arm was lost, and may have been switched off."""
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
        """Raise DeviceError where a joint stands where it could not be when it was calibrated."""
        for (joint, servo), raw in zip(self._servos.items(), counts, strict=True):
            angle = nearest_turn(
                servo.sign * (raw - servo.zero), (servo.lower + servo.upper) / 2.0
            )
            beyond = max(servo.lower - angle, angle - servo.upper)
            if beyond > _BEYOND_COUNTS:
                raise DeviceError(
                    f"{joint} stands {math.degrees(beyond * RAD_PER_COUNT):.0f} degrees outside "
                    "the range it was calibrated in", where=where,
                    remedy="move it back, or calibrate this arm again with --overwrite",
                )
