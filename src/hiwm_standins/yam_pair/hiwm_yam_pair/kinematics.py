"""Closed-form joint positions of an arm whose tool points straight down.

Then joint5 is zero, and the shoulder, the elbow and the wrist lie in one upright plane. Tested
against MuJoCo and the URDF by ``test_urdf.py``.
"""

import math

from hiwm_core.embodiment import Embodiment
from hiwm_yam_pair.geometry import (
    BASE_M,
    HINGES,
    SIDES,
    TIP_M,
    arm_joints,
    gripper,
)

_SHOULDER_M = HINGES[0].offset_m[2] + HINGES[1].offset_m[2]  # height
_LINK_M = HINGES[2].offset_m[2]  # upper arm and forearm are equally long
_BENT_M = 0.004  # short of the straight arm
_HAND_M = HINGES[4].offset_m[0] + HINGES[5].offset_m[0] + TIP_M  # from joint4 down to the tip


def tool_down(side: str, x_m: float, y_m: float, z_m: float, yaw_rad: float) -> tuple[float, ...]:
    """Return the joints [6] that put the tip at a point of the table frame, the elbow up.

    Raises:
        ValueError: the point is out of reach.
    """
    across, along = y_m - BASE_M[side][1], x_m - BASE_M[side][0]
    bearing = math.atan2(across, along)
    reach, height = math.hypot(along, across), z_m + _HAND_M - _SHOULDER_M
    distance = math.hypot(reach, height)
    if distance > 2 * _LINK_M:
        raise ValueError(f"the {side} arm does not reach [{x_m:g}, {y_m:g}, {z_m:g}] m")
    lean, bend = math.atan2(reach, height), math.acos(distance / (2 * _LINK_M))
    shoulder, elbow = lean - bend, 2 * bend - math.pi / 2
    wrist = math.pi / 2 - shoulder - elbow
    return bearing, shoulder, elbow, wrist, 0.0, bearing + math.pi / 2 - yaw_rad


def highest_m(side: str, x_m: float, y_m: float) -> float:
    """Return the greatest height [m] at which the tip of a tool that points down reaches a place.

    A margin keeps the elbow bent. Far out it is below the table.
    """
    reach = math.hypot(x_m - BASE_M[side][0], y_m - BASE_M[side][1])
    return math.sqrt(max((2 * _LINK_M - _BENT_M) ** 2 - reach**2, 0.0)) - _HAND_M + _SHOULDER_M


def home_joints(embodiment: Embodiment) -> dict[str, float]:
    """Return the joints of both arms and grippers at an embodiment's home, by name."""
    found = {name: value for name, value in zip(
        embodiment.action_joints, embodiment.home, strict=True
    ) if name}
    for group in embodiment.groups:
        if group.kind == "ee_position":
            x, y, z, yaw = embodiment.home[group.slice]
            found |= zip(arm_joints(group.arm), tool_down(group.arm, x, y, z, yaw), strict=True)
    assert set(found) == {name for side in SIDES for name in (*arm_joints(side), gripper(side))}
    return found
