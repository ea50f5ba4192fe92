"""The numbers of the two arms; the MuJoCo model and the URDF are both made from them.

Each arm is a chain of six hinges like a YAM's or a ViperX's: base yaw, shoulder, elbow and wrist
pitch, wrist yaw, tool roll. At zero the upper arm stands up, and the forearm and the tool point
forward, along x of joint6's link; the fingers slide along its y axis.

Frame "table": origin between the bases on the table, x away from the arms, y to the left, z up.
"""

import math
from dataclasses import dataclass

Vector = tuple[float, float, float]

SIDES = ("left", "right")
BASE_M: dict[str, Vector] = {"left": (0.0, 0.19, 0.0), "right": (0.0, -0.19, 0.0)}


@dataclass(frozen=True, kw_only=True)
class Hinge:
    """One joint of an arm."""

    name: str  # without the side
    offset_m: Vector  # from the previous hinge, or from the base
    axis: Vector
    lower_rad: float
    upper_rad: float
    strong: bool  # carries the arm: a larger motor


HINGES = (
    Hinge(name="joint1", offset_m=(0, 0, 0.06), axis=(0, 0, 1), lower_rad=-2.6, upper_rad=2.6,
          strong=True),
    Hinge(name="joint2", offset_m=(0, 0, 0.05), axis=(0, 1, 0), lower_rad=-1.9, upper_rad=1.9,
          strong=True),
    Hinge(name="joint3", offset_m=(0, 0, 0.26), axis=(0, 1, 0), lower_rad=-1.6, upper_rad=2.6,
          strong=True),
    Hinge(name="joint4", offset_m=(0.26, 0, 0), axis=(0, 1, 0), lower_rad=-1.9, upper_rad=2.4,
          strong=False),
    Hinge(name="joint5", offset_m=(0.045, 0, 0), axis=(0, 0, 1), lower_rad=-1.6, upper_rad=1.6,
          strong=False),
    Hinge(name="joint6", offset_m=(0.045, 0, 0), axis=(1, 0, 0), lower_rad=-3.1, upper_rad=3.1,
          strong=False),
)
# From joint6 along the tool's axis to the tip, the point between the fingertips that targets place.
# The fingers end 8 mm beyond it. The tip's z axis points out of the gripper, and the fingers slide
# along its x axis: its yaw is the direction of the fingers' way on the table.
TIP_M = 0.117
TIP_RPY_RAD: Vector = (math.pi / 2, 0.0, math.pi / 2)
TIP_WXYZ = (0.5, 0.5, 0.5, 0.5)  # the same rotation as a quaternion
FINGER_END_M = 0.125
FINGER_LENGTH_M = 0.06
# Way of one finger; the gripper's joint is one finger's position, 0 shut.
FINGER_OPEN_M = 0.030

def joint(side: str, name: str) -> str:
    """Return the full name of a joint or link."""
    return f"{side}_{name}"


def arm_joints(side: str) -> tuple[str, ...]:
    """Return the names of an arm's six hinges, the base's first."""
    return tuple(joint(side, hinge.name) for hinge in HINGES)


def gripper(side: str) -> str:
    """Return the name of an arm's gripper joint: a ratio, 0 shut, 1 open."""
    return joint(side, "gripper")


def numbers_text(vector: Vector) -> str:
    """Return a vector as it stands in attributes of MJCF and URDF, without loss of digits."""
    return " ".join(f"{value:.16g}" for value in vector)
