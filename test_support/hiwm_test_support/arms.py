"""A URDF of two six-joint arms on a table, of our own, with primitive shapes.

Each arm stands at y = 0.25 m (left) or -0.25 m (right) and, with all joints at zero, lies along +x
at a height of 0.3 m: shoulder 0, elbow 0.3, wrist 0.55 and tip 0.7 m from its base's axis. A finger
slides at the tip. The root link is ``table``, its top at z = 0.
"""

from hiwm_core.embodiment import Embodiment, parse_embodiment

JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
SHOULDER_HEIGHT_M = 0.3
ELBOW_M, WRIST_M, TIP_M = 0.3, 0.25, 0.15  # lengths of upper arm, forearm and hand
ARM_RADIUS_M = 0.04
BASE_Y_M = {"left": 0.25, "right": -0.25}

_ALONG_X = 'rpy="0 1.5707963267948966 0"'


def two_arms_urdf() -> str:
    """Return the URDF's text."""
    return "\n".join([
        '<robot name="two_arms">', '<link name="table"/>', _arm("left"), _arm("right"), "</robot>",
    ])


def arm_joints(arm: str) -> list[str]:
    """Return the six joints of an arm, ``left`` or ``right``, base first."""
    return [f"{arm}_{joint}" for joint in JOINTS]


def _arm(arm: str) -> str:
    height = SHOULDER_HEIGHT_M
    return "\n".join([
        _joint(arm, "mount", "table", "base", "fixed", f"0 {BASE_Y_M[arm]} 0"),
        _link(arm, "base", f'<cylinder radius="0.06" length="{height - 0.1}"/>', "0 0 0.1"),
        _joint(arm, "waist", "base", "shoulder", "revolute", f"0 0 {height}", "0 0 1"),
        _link(arm, "shoulder", '<sphere radius="0.05"/>', "0 0 0"),
        _joint(arm, "shoulder", "shoulder", "upper_arm", "revolute", "0 0 0", "0 1 0"),
        _rod(arm, "upper_arm", ELBOW_M),
        _joint(arm, "elbow", "upper_arm", "forearm", "revolute", f"{ELBOW_M} 0 0", "0 1 0"),
        _rod(arm, "forearm", WRIST_M),
        _joint(arm, "forearm_roll", "forearm", "roll", "continuous", f"{WRIST_M} 0 0", "1 0 0"),
        _link(arm, "roll", '<sphere radius="0.04"/>', "0 0 0"),
        _joint(arm, "wrist_angle", "roll", "wrist", "revolute", "0 0 0", "0 1 0"),
        _link(arm, "wrist", '<box size="0.08 0.06 0.06"/>', "0.04 0 0"),
        _joint(arm, "wrist_rotate", "wrist", "hand", "continuous", "0 0 0", "1 0 0"),
        _link(arm, "hand", '<box size="0.07 0.1 0.04"/>', f"{TIP_M - 0.035} 0 0"),
        _joint(arm, "finger_slide", "hand", "finger", "prismatic", f"{TIP_M} 0 0", "0 1 0"),
        f'<link name="{arm}_finger"/>',
        _joint(arm, "tip_mount", "hand", "tip", "fixed", f"{TIP_M} 0 0"),
        f'<link name="{arm}_tip"/>',
    ])


def _rod(arm: str, name: str, length: float) -> str:
    shape = f'<cylinder radius="{ARM_RADIUS_M}" length="{length - 2 * ARM_RADIUS_M}"/>'
    return _link(arm, name, shape, f"{length / 2} 0 0", _ALONG_X)


def _link(arm: str, name: str, shape: str, xyz: str, rpy: str = "") -> str:
    return (
        f'<link name="{arm}_{name}"><collision><origin xyz="{xyz}" {rpy}/>'
        f"<geometry>{shape}</geometry></collision></link>"
    )


def _joint(
    arm: str, name: str, parent: str, child: str, kind: str, xyz: str, axis: str = ""
) -> str:
    parent_link = parent if parent == "table" else f"{arm}_{parent}"
    moving = "" if kind == "fixed" else f'<axis xyz="{axis}"/>'
    if kind in ("revolute", "prismatic"):
        reach = (0.0, 0.04) if kind == "prismatic" else (-3.0, 3.0)
        moving += f'<limit lower="{reach[0]}" upper="{reach[1]}" effort="10" velocity="3"/>'
    return (
        f'<joint name="{arm}_{name}" type="{kind}"><origin xyz="{xyz}"/>'
        f'<parent link="{parent_link}"/><child link="{arm}_{child}"/>{moving}</joint>'
    )


# Two cameras of different sizes.
TWO_ARMS_CAMERAS = """\
cameras:
  - {name: front, width: 64, height: 48, encoding: rgb8}
  - {name: wrist, width: 33, height: 41, encoding: rgb8}
"""


def two_arms_text() -> str:
    """Return an embodiment of the two arms: 14 actions, with one gripper each.

    Proprioception is not the action: it has another order, a speed, and a joint that no action
    moves.
    """
    groups = "".join(_groups(arm) for arm in ("left", "right"))
    measured = "".join(_measured(arm) for arm in ("right", "left"))
    return (
        f"name: two_arms\nframe: table\nrate_hz: 10.0\ngroups:\n{groups}proprioception:\n"
        "  - {name: column, joint: column, field: position, unit: m}\n"
        f"{measured}"
        "  - {name: left_elbow_speed, joint: left_elbow, field: velocity, unit: rad/s}\n"
        + TWO_ARMS_CAMERAS
    )


def two_arms() -> Embodiment:
    """Return that embodiment, parsed."""
    return parse_embodiment(two_arms_text(), "two_arms.yaml")


def _measured(arm: str) -> str:
    joints = "".join(
        f"  - {{name: {joint}_now, joint: {joint}, field: position, unit: rad}}\n"
        for joint in arm_joints(arm)
    )
    return f'  - {{name: {arm}_opening, action: {arm}_gripper, unit: "1"}}\n{joints}'


def _groups(arm: str) -> str:
    entries = "".join(
        f"      - {{name: {joint}, joint: {joint}, unit: rad, lower: -2.9, upper: 2.9, home: 0.0, "
        "max_velocity: 2.0, max_acceleration: 20.0, max_following_error: 0.4}\n"
        for joint in arm_joints(arm)
    )
    return (
        f"  - name: {arm}_joints\n    arm: {arm}\n    kind: joint_position\n"
        f"    measured: {{source: joint_states}}\n    entries:\n{entries}"
        f"  - name: {arm}_gripper\n    arm: {arm}\n    kind: gripper\n"
        "    measured: {source: joint_states}\n    entries:\n"
        f"      - {{name: {arm}_gripper, joint: {arm}_gripper, unit: \"1\", lower: 0, upper: 1, "
        "home: 1.0, max_velocity: 3.0, max_acceleration: 60.0, max_following_error: 1.0}\n"
    )
