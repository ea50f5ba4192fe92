"""The axes that a page drives: one for each action entry, then six for the tip of each arm.

Keys, pads and sticks of a page are speeds along axes. An arm with a tip is driven along its axes
in the frame that the page has chosen, or joint by joint. Pure. Tested by ``test_drive_axes.py``.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiwm_core.embodiment import ActionGroup, Embodiment
from hiwm_core.tips import TIP_AXES, Tips, TipStep, tip_axes, tip_frames

# Full speed of the tip of an arm of joints; an end effector has its entries' own.
LINEAR_M_S, ANGULAR_RAD_S = 0.25, 1.5
_AXES = len(TIP_AXES)


class DriveAxes:
    """The axes of one embodiment.

    Args:
        embodiment: groups and limits.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self._embodiment = embodiment
        self._entries = embodiment.action_dim
        self._first = {
            arm: self._entries + _AXES * number for number, arm in enumerate(
                arm for arm in embodiment.arms if tip_axes(embodiment, arm)
            )
        }
        self.size = self._entries + _AXES * len(self._first)

    @property
    def planes(self) -> list[tuple[int, int]]:
        """Axes of x and y of each arm that moves in a plane, in the arms' order."""
        found = []
        for arm in self._embodiment.arms:
            places = [self._first[arm], self._first[arm] + 1] if arm in self._first else [
                place for place, entry in enumerate(self._embodiment.actions)
                if entry.arm == arm and entry.unit == "m"
            ]
            if len(places) >= 2:
                found.append((places[0], places[1]))
        return found

    def described(self) -> dict[str, Any]:
        """Return what a page needs to know of the axes."""
        return {
            "axes": self.size, "frames": list(tip_frames(self._embodiment)),
            "actions": [
                {"name": entry.name, "arm": entry.arm, "unit": entry.unit}
                for entry in self._embodiment.actions
            ],
            "groups": [
                {"name": group.name, "arm": group.arm, "kind": group.kind,
                 "rotation": group.rotation, "start": group.start, "size": group.size,
                 **self._tip(group)}
                for group in self._embodiment.groups
            ],
        }

    def places(self, tips: Tips, measured: NDArray[np.float64]) -> dict[str, list[float]]:
        """Return where each arm's tip is, in the arm's frame: x, y, z [m], and yaw if it turns so.

        Args:
            tips: of the same embodiment.
            measured: measured counterpart of the action, [A].
        """
        found = {}
        for arm in self._first:
            pose = tips.pose(arm, measured)
            place = [round(float(value), 4) for value in pose.position]
            if tip_axes(self._embodiment, arm)[3:] == ("yaw",):
                place.append(round(math.atan2(pose.rotation[1, 0], pose.rotation[0, 0]), 4))
            found[arm] = place
        return found

    def motion(
        self, axes: ArrayLike, frame: str, speed: float, seconds: float
    ) -> tuple[NDArray[np.float64], dict[str, TipStep]]:
        """Return the displacement [A] and those of tips for axes that are held for a time.

        Args:
            axes: [size], -1..1 of full speed.
            frame: one of `tip_frames`.
            speed: share of full speed.
            seconds: how long.
        """
        held = np.asarray(axes, dtype=np.float64) * speed * seconds
        tips = {}
        for arm, first in self._first.items():
            way = held[first:first + _AXES] * self._full_speed(arm)
            if way.any():
                tips[arm] = TipStep(displacement=way, frame=frame)
        return held[: self._entries] * self._embodiment.max_velocity, tips

    def _full_speed(self, arm: str) -> NDArray[np.float64]:
        speed = np.repeat([LINEAR_M_S, ANGULAR_RAD_S], 3)
        for group in self._embodiment.groups:
            if group.arm == arm and group.kind == "ee_position":
                given = self._embodiment.max_velocity[group.slice]
                speed[:3] = given[:3]
                speed[3:] = given[-1] if group.rotation != "none" else 0.0
        return speed

    def _tip(self, group: ActionGroup) -> dict[str, Any]:
        """Return where the axes of the tip begin that a group moves, and which it has."""
        if group.kind != "ee_position" and group.kinematics is None:
            return {"tip": None, "tip_axes": []}
        return {
            "tip": self._first[group.arm],
            "tip_axes": list(tip_axes(self._embodiment, group.arm)),
        }
