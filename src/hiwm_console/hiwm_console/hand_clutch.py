"""Hands of a headset move the tips of arms: clutched, relative, and never by a hand that jumps.

While its grip is held, an arm makes the hand's motion since the grip was closed, turned from the
person's view into the arm's frame. So a hand that returns brings its arm back, also after the arm
could not follow. Pure. Tested by ``test_hand_clutch.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiwm_console.protocol import HandPose
from hiwm_core.embodiment import Embodiment
from hiwm_core.kinematics import Pose
from hiwm_core.rotations import matrix_from_quaternion, matrix_from_vector, vector_from_matrix
from hiwm_core.tips import Tips, view_away, view_axes
from hiwm_teleop.devices.trigger import GripperTrigger

Array = NDArray[np.float64]

# Columns: WebXR's right, up and towards the viewer, in a view's right, away and up.
_FROM_XR = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
# A hand that moved farther since the last message has jumped: its tracking was lost in between.
# People reach with 3 m/s and turn a wrist with 12 rad/s at most.
_JUMP_M, _FASTEST_M_S = 0.1, 3.0
_JUMP_RAD, _FASTEST_RAD_S = 0.6, 12.0


class HandWatch:
    """Detects hands that cannot be trusted."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[float, HandPose]] = {}  # by arm, with the page's clock, ms

    def forget(self) -> None:
        """Forget where the hands were: another page drives."""
        self._last = {}

    def problem(self, hands: Sequence[HandPose], t: float, names: Sequence[str]) -> str:
        """Return why a hand that moves an arm counts as lost; empty if none does.

        Args:
            hands: newest.
            t: the page's clock, ms.
            names: of the arms.
        """
        found = ""
        here = {hand.arm for hand in hands}
        for arm in [arm for arm in self._last if arm not in here]:
            if self._last.pop(arm)[1].held:
                found = f"the {_name(arm, names)} controller has disappeared"
        for hand in hands:
            name = _name(hand.arm, names)
            before = self._last.pop(hand.arm, None)
            if not hand.tracked:
                found = f"the {name} controller has lost its tracking" if hand.held else found
                continue
            self._last[hand.arm] = (t, hand)
            if before is not None and hand.held and before[1].held:
                found = _jump(before[1], hand, (t - before[0]) / 1e3, name) or found
        return found


def _name(arm: int, names: Sequence[str]) -> str:
    return names[arm] if arm < len(names) else str(arm)


def _jump(before: HandPose, hand: HandPose, seconds: float, name: str) -> str:
    way = float(np.linalg.norm(np.subtract(hand.position, before.position)))
    turn = float(np.linalg.norm(vector_from_matrix(
        matrix_from_quaternion(hand.rotation) @ matrix_from_quaternion(before.rotation).T
    )))
    if way > _JUMP_M + _FASTEST_M_S * seconds:
        return f"the {name} controller jumped by {way:.2f} m"
    if turn > _JUMP_RAD + _FASTEST_RAD_S * seconds:
        return f"the {name} controller jumped by {np.degrees(turn):.0f} degrees"
    return ""


@dataclass(frozen=True)
class _Grip:
    """Where a hand and its arm were when the grip was closed."""

    hand: Pose
    tip: Pose
    manner: tuple[str, float]  # frame and speed since then


class HandClutch:
    """The arms' motion from poses of hands.

    Args:
        embodiment: of the world.

    Raises:
        ConfigError: a URDF is missing, or lacks a link or joint.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self._embodiment = embodiment
        self._tips = Tips(embodiment)
        self._grips: dict[str, _Grip] = {}
        self._grippers = {
            group.arm: (group.start, GripperTrigger())
            for group in embodiment.groups if group.kind == "gripper"
        }

    def forget(self) -> None:
        """Open every grip: control was released, or the robot is elsewhere after a rollback."""
        self._grips = {}
        for _, trigger in self._grippers.values():
            trigger.rest()

    def motion(
        self, hands: Sequence[HandPose], target: Array, frame: str, speed: float
    ) -> tuple[dict[str, Pose], Array]:
        """Return where tips should be, by arm, and targets of grippers [A], NaN elsewhere.

        Args:
            hands: newest poses.
            target: last target [A].
            frame: the view in which the person sees the arms; see `view_away`.
            speed: how much of a hand's motion its arm makes.
        """
        goals: dict[str, Pose] = {}
        grippers = np.full(self._embodiment.action_dim, np.nan)
        axes = view_axes(view_away(self._embodiment, frame)) @ _FROM_XR
        arms = self._embodiment.arms
        for hand in hands:
            if hand.arm >= len(arms):
                continue
            arm = arms[hand.arm]
            if arm in self._grippers:
                entry, trigger = self._grippers[arm]
                ratio = trigger.ratio(hand.trigger, float(target[entry]))
                grippers[entry] = np.nan if ratio is None else ratio
            if not hand.held or not hand.tracked or arm not in self._tips.arms:
                self._grips.pop(arm, None)
                continue
            here = Pose(
                position=axes @ np.array(hand.position),
                rotation=axes @ matrix_from_quaternion(hand.rotation) @ axes.T,
            )
            grip = self._grips.get(arm)
            if grip is None or grip.manner != (frame, speed):
                grip = _Grip(here, self._tips.pose(arm, target), (frame, speed))
                self._grips[arm] = grip
            turn = vector_from_matrix(here.rotation @ grip.hand.rotation.T)
            goals[arm] = Pose(
                position=grip.tip.position + speed * (here.position - grip.hand.position),
                rotation=matrix_from_vector(speed * turn) @ grip.tip.rotation,
            )
        return goals, grippers
