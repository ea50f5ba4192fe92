"""What all devices made of caps, sticks and pedals share: combining their parts into one input.

A device lists its parts and the current state of each; this module makes one operator of them. The
device is lost if any part is lost, any deadman held gives control, and every stick moves the arm it
is assigned to. Pure. Tested by ``test_device_parts.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hiwm_core.embodiment import Embodiment
from hiwm_core.tips import TipStep
from hiwm_teleop.devices.base import OperatorInput, OperatorView
from hiwm_teleop.devices.buttons import Buttons, Pressed
from hiwm_teleop.devices.loss import LossGuard
from hiwm_teleop.devices.motion import (
    LOCKS,
    ArmMotion,
    Array,
    AxisName,
    AxisSetting,
    Displacement,
    MotionSettings,
)
from hiwm_teleop.devices.steering import Steering
from hiwm_teleop.devices.trigger import GripperTrigger


class Stick:
    """One cap or stick on an arm.

    Args:
        arms: arms it can move, selected by a button; empty = all of the robot.
        axes: settings of the axes it has.
        settings: common to all axes.
        where: file and field, for messages.
    """

    def __init__(
        self, *, arms: tuple[str, ...], axes: Mapping[AxisName, AxisSetting],
        settings: MotionSettings, where: str,
    ) -> None:
        self._arms, self._axes, self._settings, self._where = arms, axes, settings, where
        self._lock = settings.lock
        self._displacement = Displacement()
        self._robot: Embodiment | None = None
        self._motions: dict[str, ArmMotion] = {}
        self._grippers: dict[str, int] = {}  # arm -> entry
        self._closing: dict[str, float] = {}  # arm -> 1 opens, -1 closes; absent = never toggled
        self._trigger = GripperTrigger()
        self._at = 0

    def meet(self, robot: Embodiment) -> None:
        """Set the robot it drives.

        Raises:
            DeviceError: the robot lacks a named arm, or the axes move none of its entries.
        """
        if self._robot is not None and self._robot.hash == robot.hash:
            return
        self._robot, self._at = robot, 0
        self._motions = {
            arm: ArmMotion(robot, arm, self._axes, self._settings, self._where)
            for arm in self._arms or robot.arms
        }
        self._grippers = {
            group.arm: group.start for group in robot.groups if group.kind == "gripper"
        }
        self._closing = {}

    def rest(self) -> None:
        """Stop: the next motion starts from standstill."""
        self._displacement.rest()
        self._trigger.rest()

    def press(self, pressed: Pressed, view: OperatorView, deadman: bool) -> str:
        """Apply button presses to this stick; return a line for the person, or nothing.

        Grippers toggle only while the deadman is held.
        """
        if not self._motions:
            return ""
        line = ""
        if pressed.arms:
            self._at = (self._at + pressed.arms) % len(self._motions)
            self.rest()
            line = f"arm {self._arm}"
        if pressed.locks:
            locks = list(LOCKS)
            self._lock = locks[(locks.index(self._lock) + pressed.locks) % len(locks)]
            line = f"axis lock {self._lock}"
        for _ in range(pressed.grippers if deadman else 0):
            line = self._toggle_gripper(view)
        return line

    def motion(
        self, values: Mapping[AxisName, float], received_s: float, now_s: float,
        steering: Steering,
    ) -> tuple[Array, str, TipStep]:
        """Return the displacement [A] since the last call, and an arm with that of its tip.

        Args:
            values: deflections, -1..1.
            received_s: when they were received, steady clock.
            now_s: now.
            steering: frame and speed.
        """
        velocity = steering.speed * self._motions[self._arm].velocity(values, self._lock)
        assert self._robot is not None
        for arm, direction in self._closing.items():
            entry = self._grippers[arm]
            velocity[entry] = direction * self._robot.actions[entry].max_velocity
        moved = self._displacement.advance(velocity, received_s, now_s)
        size = self._robot.action_dim
        return moved[:size], self._arm, TipStep(displacement=moved[size:], frame=steering.frame)

    def grip(self, pulled: float, view: OperatorView, targets: Array) -> None:
        """Set the target of the arm's gripper from a trigger, in targets [A].

        Args:
            pulled: how far the trigger is pulled, 0..1.
            view: as read.
            targets: NaN where nothing is set.
        """
        entry = self._grippers.get(self._arm)
        if entry is None or view.tick is None:
            return
        last = view.tick.applied if view.tick.applied.size else view.tick.measured
        ratio = self._trigger.ratio(pulled, float(last[entry]))
        if ratio is not None:
            targets[entry] = ratio

    @property
    def _arm(self) -> str:
        return list(self._motions)[self._at]

    def _toggle_gripper(self, view: OperatorView) -> str:
        arm = self._arm
        if arm not in self._grippers or self._robot is None:
            return f"arm {arm} has no gripper"
        entry = self._grippers[arm]
        action = self._robot.actions[entry]
        if arm in self._closing:
            self._closing[arm] *= -1.0
        else:
            middle = (action.lower + action.upper) / 2
            is_open = view.tick is None or view.tick.measured[entry] > middle
            self._closing[arm] = -1.0 if is_open else 1.0
        return f"{arm} gripper {'closes' if self._closing[arm] < 0 else 'opens'}"


@dataclass(frozen=True, kw_only=True)
class StickState:
    """The current state of one cap or stick."""

    hand: Stick
    values: Mapping[AxisName, float]  # deflections, -1..1
    received_s: float  # time received, steady clock
    pulled: float | None = None  # how far its gripper's trigger is pulled, 0..1; None = no trigger


@dataclass(frozen=True, kw_only=True)
class Part:
    """The current state of one part of a device."""

    buttons: Buttons[Any]
    hands: tuple[StickState, ...] = ()
    problem: str = ""  # why it is lost; empty while it is present


class PartCombiner:
    """Combines a device's parts into one operator.

    Args:
        name: device, for messages.
    """

    def __init__(self, name: str) -> None:
        self._guard = LossGuard(name)
        self._steering = Steering()

    def turn(self, view: OperatorView, parts: Sequence[Part]) -> OperatorInput:
        """Return the combined input.

        Raises:
            DeviceError: these sticks cannot move this robot.
        """
        hands = [state for part in parts for state in part.hands]
        if view.world is not None:
            self._steering.meet(view.world.embodiment)
            for state in hands:
                state.hand.meet(view.world.embodiment)
        presses = [part.buttons.take(view) for part in parts]
        lost = self._guard.lost(next((p.problem for p in parts if p.problem), ""), view)
        if lost is not None:
            for part in parts:
                part.buttons.forget()
            for state in hands:
                state.hand.rest()
            return lost
        deadman, line = self._guard.present(
            any(pressed.deadman for pressed in presses),
            all(pressed.let_go or not pressed.deadman for pressed in presses),
        )
        lines = [
            state.hand.press(pressed, view, deadman)
            for part, pressed in zip(parts, presses, strict=True) for state in part.hands
        ]
        lines.append(self._steering.change(
            sum(pressed.frames for pressed in presses), sum(pressed.speeds for pressed in presses)
        ))
        delta: Array | None = None
        tips: dict[str, TipStep] = {}
        given: Array | None = None
        if deadman and view.world is not None:
            delta = np.zeros(view.world.embodiment.action_dim)
            for state in hands:
                moved, arm, step = state.hand.motion(
                    state.values, state.received_s, view.now_s, self._steering
                )
                delta += moved
                if state.pulled is not None:
                    given = np.full_like(delta, np.nan) if given is None else given
                    state.hand.grip(state.pulled, view, given)
                tips[arm] = TipStep(
                    displacement=step.displacement + tips[arm].displacement, frame=step.frame
                ) if arm in tips else step
        else:
            for state in hands:
                state.hand.rest()
        return OperatorInput(
            action=given, delta=delta, tips=tips, deadman=deadman,
            events=tuple(event for pressed in presses for event in pressed.events),
            message=", ".join(filter(None, [line, *lines])),
            steering=self._steering.text if hands else "",
        )
