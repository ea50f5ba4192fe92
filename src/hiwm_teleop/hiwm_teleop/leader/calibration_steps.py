"""The calibration of one leader arm, step by step. Pure. Tested by ``test_leader_calibration.py``.

A person holds and moves the arm and confirms each step; the routine sees every reading. A step that
was not done as requested is refused with the reason, and must be repeated.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hiwm_core.errors import DeviceError
from hiwm_teleop.leader.calibration_file import CalibratedServo, Calibration
from hiwm_teleop.leader.joint_angles import RAD_PER_COUNT, nearest_turn
from hiwm_teleop.leader.leader_file import GRIPPER, ArmFile, JointFile

# The arm counts as still while no joint moves by more than one degree over this many readings.
_STILL_READINGS = 20
_STILL_COUNTS = math.radians(1.0) / RAD_PER_COUNT
# A turn that shows a joint's direction: more than this, and no other joint more than half of it.
_TURN_COUNTS = math.radians(15.0) / RAD_PER_COUNT
_MIN_RANGE_COUNTS = math.radians(20.0) / RAD_PER_COUNT
_MIN_GRIPPER_COUNTS = math.radians(8.0) / RAD_PER_COUNT
# A joint that turns endlessly has no range limits: its range is half a turn either way.
_MAX_RANGE_COUNTS = math.radians(350.0) / RAD_PER_COUNT


@dataclass(frozen=True, kw_only=True)
class _Step:
    kind: Literal["pose", "turn", "range", "closed", "open"]
    joint: str = ""


class CalibrationSteps:
    """Prompts for each step, collects readings, and returns the calibration.

    Args:
        arm: from the device file.
        homing_offsets: by joint, as reported by the servos, counts.
    """

    def __init__(self, arm: ArmFile, homing_offsets: Mapping[str, int]) -> None:
        self._arm = arm
        self._offsets = dict(homing_offsets)
        self._names = list(arm.servos)
        self._steps = [_Step(kind="pose")]
        self._steps += [_Step(kind="turn", joint=joint) for joint in arm.joints]
        self._steps.append(_Step(kind="range"))
        if arm.gripper:
            self._steps += [_Step(kind="closed"), _Step(kind="open")]
        self._at = 0
        self._recent: deque[tuple[int, ...]] = deque(maxlen=_STILL_READINGS)
        self._start: tuple[int, ...] = ()  # at the start of the current step
        self._zero: dict[str, int] = {}
        self._sign: dict[str, Literal[1, -1]] = {}
        self._opening = 0
        self._lowest: list[int] = []
        self._highest: list[int] = []

    @property
    def done(self) -> bool:
        """Whether every step was confirmed."""
        return self._at >= len(self._steps)

    @property
    def progress(self) -> str:
        """Current step and number of steps, human-readable."""
        return f"{self._at + 1}/{len(self._steps)}"

    @property
    def prompt(self) -> str:
        """What the person must do before confirming."""
        step = self._steps[self._at]
        if step.kind == "pose":
            pose = ", ".join(
                f"{name} {math.degrees(joint.pose_rad):.0f}"
                for name, joint in self._arm.joints.items()
            )
            return f"Hold the arm still in its calibration pose (degrees: {pose})"
        if step.kind == "turn":
            joint = self._arm.joints[step.joint]
            return (
                f"From the arm's current pose, turn only {step.joint}, by 30 degrees or more, "
                f"{self._way(step.joint, joint)}, and hold it there"
            )
        if step.kind == "range":
            return "Move every joint once to both ends of its range"
        if step.kind == "closed":
            return "Close the gripper and hold it closed"
        return "Open the gripper as far as it goes and hold it open"

    def see(self, counts: Sequence[int]) -> None:
        """Process a reading of all servos, in the order of the arm's servos."""
        if self._recent:
            counts = [
                nearest_turn(raw, last)
                for raw, last in zip(counts, self._recent[-1], strict=True)
            ]
        seen = tuple(counts)
        self._recent.append(seen)
        if not self._start:
            self._start = seen
        if self._lowest:
            self._lowest = [min(pair) for pair in zip(self._lowest, seen, strict=True)]
            self._highest = [max(pair) for pair in zip(self._highest, seen, strict=True)]

    def confirm(self) -> str:
        """Complete the current step; return its result, human-readable.

        Raises:
            DeviceError: the step was not done as requested; it must be repeated.
        """
        if len(self._recent) < _STILL_READINGS:
            raise DeviceError("too few readings yet", remedy="wait a second and confirm again")
        step = self._steps[self._at]
        found = {
            "pose": self._end_pose, "turn": self._end_turn, "range": self._end_range,
            "closed": self._end_closed, "open": self._end_open,
        }[step.kind](step.joint)
        self._start = self._recent[-1]
        self._at += 1
        return found

    def result(self, arm: str, bus: Literal["dynamixel", "feetech"], now: str) -> Calibration:
        """Return the calibration once it is done.

        Args:
            arm: its name in the device file.
            bus: from the device file.
            now: UTC, human-readable.
        """
        joints = {}
        for place, (name, servo) in enumerate(self._arm.servos.items()):
            lower, upper = self._range(name, place)
            joints[name] = CalibratedServo(
                id=servo.id, model=servo.model, homing_offset=self._offsets[name],
                zero=self._zero[name], sign=self._sign[name], lower=lower, upper=upper,
            )
        return Calibration(arm=arm, bus=bus, calibrated_at=now, joints=joints)

    def _end_pose(self, _: str) -> str:
        still = self._still(self._names)
        self._zero = dict(zip(self._names, still, strict=True))
        # Range limits are collected from here on: people also move joints far in the next steps.
        self._lowest, self._highest = list(self._recent[-1]), list(self._recent[-1])
        return "pose taken"

    def _end_turn(self, joint: str) -> str:
        self._still(list(self._arm.joints))
        moved = {
            name: now - then
            for name, now, then in zip(self._names, self._recent[-1], self._start, strict=True)
            if name != GRIPPER
        }
        ordered = sorted(moved, key=lambda name: abs(moved[name]), reverse=True)
        most = ordered[0]
        if abs(moved[most]) < _TURN_COUNTS:
            raise DeviceError(
                f"no joint turned by more than {_degrees(_TURN_COUNTS)}", where=joint,
                remedy="turn it farther",
            )
        only_one = len(ordered) == 1 or abs(moved[ordered[1]]) <= abs(moved[most]) / 2
        if most != joint or not only_one:
            self._start = self._recent[-1]  # the next attempt starts from here
            other = most if most != joint else ordered[1]
            raise DeviceError(
                f"{other} turned by {_degrees(moved[other])}, {joint} by "
                f"{_degrees(moved[joint])}", where=joint,
                remedy="turn only the requested joint; if you did, correct the ids in the device "
                "file",
            )
        self._sign[joint] = 1 if moved[joint] > 0 else -1
        return f"{joint} turned by {_degrees(moved[joint])}: sign {self._sign[joint]:+d}"

    def _end_range(self, _: str) -> str:
        found = []
        for name, low, high in zip(self._names, self._lowest, self._highest, strict=True):
            if name == GRIPPER:
                continue
            if high - low < _MIN_RANGE_COUNTS:
                raise DeviceError(
                    f"{name} moved through only {_degrees(high - low)}", where=name,
                    remedy="move it to both of its ends",
                )
            found.append(f"{name} {_degrees(high - low)}")
        return "ranges: " + ", ".join(found)

    def _end_closed(self, _: str) -> str:
        (closed,) = self._still([GRIPPER])
        self._zero[GRIPPER] = closed
        return "closed"

    def _end_open(self, _: str) -> str:
        (opened,) = self._still([GRIPPER])
        span = opened - self._zero[GRIPPER]
        if abs(span) < _MIN_GRIPPER_COUNTS:
            raise DeviceError(
                f"the gripper opened by only {_degrees(span)}", where=GRIPPER,
                remedy="open it fully and confirm; if it was not closed in the previous step, "
                "start over",
            )
        self._sign[GRIPPER] = 1 if span > 0 else -1
        self._opening = abs(span)
        return f"opens by {_degrees(abs(span))}"

    def _way(self, name: str, joint: JointFile) -> str:
        """Return which direction is positive."""
        if joint.drives:
            larger = "larger" if joint.scale > 0 else "smaller"
            return f"in the direction that makes {joint.drives} {larger}"
        if self._arm.planar and name in self._arm.planar.joints:
            return "counterclockwise, seen as in the picture"
        return "in the direction that shall count as positive"

    def _still(self, names: Sequence[str]) -> list[int]:
        """Return the median of the last readings of some joints; raises if one moved."""
        found = []
        for name in names:
            place = self._names.index(name)
            values = sorted(reading[place] for reading in self._recent)
            if values[-1] - values[0] > _STILL_COUNTS:
                raise DeviceError(
                    f"{name} moved by {_degrees(values[-1] - values[0])} just now", where=name,
                    remedy="hold it still for a second, then confirm",
                )
            found.append(values[len(values) // 2])
        return found

    def _range(self, name: str, place: int) -> tuple[int, int]:
        """Return the limits of a range, in the file's convention."""
        if name == GRIPPER:
            return 0, self._opening
        lower, upper = sorted(
            self._sign[name] * (end - self._zero[name])
            for end in (self._lowest[place], self._highest[place])
        )
        if upper - lower > _MAX_RANGE_COUNTS:
            half = int(_MAX_RANGE_COUNTS / 2)
            return -half, half
        return lower, upper


def _degrees(counts: float) -> str:
    return f"{math.degrees(abs(counts) * RAD_PER_COUNT):.0f} degrees"
