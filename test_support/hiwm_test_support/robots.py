"""Robots that are not in config/embodiments."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment, parse_embodiment

_UNITS = {"x": "m", "y": "m", "z": "m", "roll": "rad", "pitch": "rad", "yaw": "rad"}


def spatial_arm(names: str = "arm_{}") -> Embodiment:
    """Return a robot with one arm, all six axes as joints, and a gripper.

    Args:
        names: of its actions, with a placeholder for the axis.
    """
    entries = "\n".join(
        f"      - {{name: {names.format(axis)}, joint: {axis}_joint, unit: {unit}, home: 0, "
        "lower: -3, upper: 3, max_velocity: 1, max_acceleration: 10, max_following_error: 0.2}"
        for axis, unit in _UNITS.items()
    )
    return parse_embodiment(
        "name: spatial\nframe: base\nrate_hz: 10.0\ngroups:\n"
        "  - name: axes\n    arm: arm\n    kind: joint_position\n"
        f"    measured: {{source: joint_states}}\n    entries:\n{entries}\n"
        "  - name: gripper\n    arm: arm\n    kind: gripper\n"
        "    measured: {source: joint_states}\n    entries:\n"
        f"      - {{name: {names.format('gripper')}, joint: gripper_joint, unit: \"1\", home: 1, "
        "lower: 0, upper: 1, max_velocity: 1, max_acceleration: 10, max_following_error: 1}\n"
        "proprioception:\n  - {name: x, joint: x_joint, field: position, unit: m}\n"
        "cameras:\n  - {name: top, width: 96, height: 96, encoding: rgb8}\n", "test",
    )


def joint_arm(*names: str) -> Embodiment:
    """Return a robot with one arm of wide joints in m, one for each name."""
    entries = "\n".join(
        f"      - {{name: {name}, joint: {name}_joint, unit: m, home: 0, lower: -9, upper: 9, "
        "max_velocity: 9, max_acceleration: 99, max_following_error: 9}"
        for name in names
    )
    return parse_embodiment(
        "name: joints\nframe: base\nrate_hz: 10.0\ngroups:\n"
        "  - name: arm\n    arm: arm\n    kind: joint_position\n"
        f"    measured: {{source: joint_states}}\n    entries:\n{entries}\n"
        f"proprioception:\n  - {{name: seen, action: {names[0]}, unit: m}}\n"
        "cameras:\n  - {name: top, width: 96, height: 96, encoding: rgb8}\n", "test",
    )


# Every kind of group. Proprioception is not the action array: it has measured entries in another
# order, a velocity, and a joint that no action moves.
MIXED_TEXT = """
name: mixed
frame: table
rate_hz: 10.0
groups:
  - name: left
    arm: left
    kind: ee_position
    rotation: 6d
    frame: left_base
    tip: left_tool0
    measured: {source: pose, pose: left_tool}
    entries:
      - {name: left_x, unit: m, lower: -0.5, upper: 0.5, home: 0.1, max_velocity: 0.3,
         max_acceleration: 3.0, max_following_error: 0.06}
      - {name: left_y, unit: m, lower: -0.5, upper: 0.5, home: 0.2, max_velocity: 0.3,
         max_acceleration: 3.0, max_following_error: 0.06}
      - {name: left_z, unit: m, lower: 0.0, upper: 0.5, home: 0.3, max_velocity: 0.3,
         max_acceleration: 3.0, max_following_error: 0.06}
      - {name: left_turn, unit: rad, max_velocity: 1.5, max_acceleration: 15.0,
         max_following_error: 0.4}
  - name: left_gripper
    arm: left
    kind: gripper
    measured: {source: joint_states}
    entries:
      - {name: left_gripper, joint: left_finger, unit: "1", lower: 0, upper: 1, home: 1,
         max_velocity: 2.0, max_acceleration: 40.0, max_following_error: 1.0}
  - name: right
    arm: right
    kind: ee_position
    rotation: yaw
    tip: right_tool0
    measured: {source: urdf, urdf: mixed.urdf, link: right_tool0, joints: [j1, j2]}
    entries:
      - {name: right_x, unit: m, lower: -0.5, upper: 0.5, home: 0.0, max_velocity: 0.3,
         max_acceleration: 3.0, max_following_error: 0.06}
      - {name: right_y, unit: m, lower: -0.5, upper: 0.5, home: 0.0, max_velocity: 0.3,
         max_acceleration: 3.0, max_following_error: 0.06}
      - {name: right_z, unit: m, lower: 0.0, upper: 0.5, home: 0.1, max_velocity: 0.3,
         max_acceleration: 3.0, max_following_error: 0.06}
      - {name: right_yaw, unit: rad, lower: -3.1416, upper: 3.1416, home: 0.0, max_velocity: 1.5,
         max_acceleration: 15.0, max_following_error: 0.4}
  - name: lift
    arm: right
    kind: joint_position
    measured: {source: joint_states}
    entries:
      - {name: column, joint: column, unit: m, lower: 0.0, upper: 1.0, home: 0.5,
         max_velocity: 0.1, max_acceleration: 1.0, max_following_error: 0.02}
      - {name: wrist, joint: wrist, unit: rad, lower: -3.0, upper: 3.0, home: 0.0,
         max_velocity: 1.0, max_acceleration: 10.0, max_following_error: 0.2}
proprioception:
  - {name: left_z, action: left_z, unit: m}
  - {name: wrist_speed, joint: wrist, field: velocity, unit: rad/s}
  - {name: battery, joint: battery, field: position, unit: "1"}
cameras:
  - {name: top, width: 32, height: 24, encoding: rgb8}
"""

# A robot file with what every one must have.
SMALL_ROBOT = """
name: small
stand_in: false
embodiment: two_arms
pace: timer
stale_after_s: 0.5
joint_states: {all: {topic: joint_states, joints: [j]}}
cameras: {front: {image: image}}
outputs: {all: {adapter: joint_state, topic: t, joints: [j], silence: hold_last}}
"""


def other_proprioception(base: Embodiment) -> Embodiment:
    """Return a robot of joints whose proprioception is longer than the action and reversed.

    It has the velocity of each joint before its position, and the last joint first.
    """
    lines = [
        f"  - {{name: {entry.name}_{field}, joint: {entry.joint}, field: {field}, "
        f"unit: \"{unit}\"}}"
        for entry in reversed(base.actions)
        for field, unit in (("velocity", f"{entry.unit}/s"), ("position", entry.unit))
    ]
    before, rest = base.text.split("proprioception:", 1)
    cameras = rest[rest.index("cameras:"):]
    return parse_embodiment(
        before + "\n".join(["proprioception:", *lines, cameras]), "test"
    )


def home_proprioception(robot: Embodiment) -> NDArray[np.float32]:
    """Return the proprioception [P] of a robot of joints at rest at home."""
    home = dict(zip(robot.action_joints, robot.home, strict=True))
    return np.array([
        home[entry.joint] if entry.field == "position" else 0.0 for entry in robot.proprioception
    ], np.float32)


def mixed_robot() -> Embodiment:
    """Return a robot with a 6D tool, a gripper, a tool with yaw, and two joints."""
    return parse_embodiment(MIXED_TEXT, "test")


def tool_robot() -> Embodiment:
    """Return a robot without cameras whose tool, with a yaw, is measured by a pose stream."""
    limits = "max_velocity: 1.0, max_acceleration: 10.0, max_following_error: 0.2"
    axes = "".join(
        f"      - {{name: {axis}, unit: m, lower: -1, upper: 1, home: 0, {limits}}}\n"
        for axis in "xyz"
    )
    robot = parse_embodiment(
        "name: tool\nframe: base\nrate_hz: 10.0\ngroups:\n"
        "  - name: tool\n    arm: arm\n    kind: ee_position\n    rotation: yaw\n"
        "    tip: tool0\n    measured: {source: pose, pose: tool}\n"
        f"    entries:\n{axes}"
        f"      - {{name: yaw, unit: rad, lower: -3, upper: 3, home: 0, {limits}}}\n"
        "  - name: gripper\n    arm: arm\n    kind: gripper\n"
        "    measured: {source: joint_states}\n    entries:\n"
        f'      - {{name: gripper, joint: finger, unit: "1", lower: 0, upper: 1, home: 1, '
        f"{limits}}}\n"
        "proprioception:\n  - {name: yaw_seen, action: yaw, unit: rad}\n"
        '  - {name: gripper_seen, joint: finger, field: position, unit: "1"}\n'
        "cameras:\n  - {name: top, width: 96, height: 96, encoding: rgb8}\n", "test",
    )
    return replace(robot, cameras=())
