"""Two tools that drivers move and measure by poses, with a gripper and cameras of two sizes.

The left tool has a 6D rotation, the right one a yaw. Outputs are those that no shipped robot file
has: poses, and joint states.
"""

from pathlib import Path

from hiwm_core.embodiment import Embodiment, parse_embodiment

NAME = "tool_pair"
RATE_HZ = 10.0
TABLE_Z_M = 0.22  # high enough for an imagined tool to come near within a few steps
# The right tool's orientation at yaw 0, x y z w: it points down.
DOWN = (1.0, 0.0, 0.0, 0.0)

_AXES = {"x": (0.2, 0.8), "y": (-0.4, 0.4), "z": (0.0, 0.6)}
_HOMES = {"left": (0.5, 0.2, 0.3), "right": (0.5, -0.2, 0.3)}
_LIMITS = "max_velocity: 0.5, max_acceleration: 8.0, max_following_error: 0.1"
_TURNS = "max_velocity: 2.0, max_acceleration: 30.0, max_following_error: 0.5"


def embodiment_text() -> str:
    """Return the embodiment's YAML."""
    left = _tool("left", "6d", f"      - {{name: left_turn, unit: rad, {_TURNS}}}\n")
    right = _tool(
        "right", "yaw", "      - {name: right_yaw, unit: rad, lower: -3.1416, upper: 3.1416, "
        f"home: 0.0, {_TURNS}}}\n"
    )
    gripper = (
        "  - name: gripper\n    arm: left\n    kind: gripper\n"
        "    measured: {source: joint_states}\n    entries:\n"
        '      - {name: gripper, joint: left_finger, unit: "1", lower: 0, upper: 1, home: 1, '
        "max_velocity: 3.0, max_acceleration: 60.0, max_following_error: 1.0}\n"
    )
    turned = [f"left_turn_r{place}" for place in ("11", "21", "31", "12", "22", "32")]
    units = {f"{arm}_{axis}": "m" for arm in _HOMES for axis in _AXES}
    units |= dict.fromkeys(turned, '"1"') | {"right_yaw": "rad", "gripper": '"1"'}
    seen = "".join(
        f"  - {{name: {name}_seen, action: {name}, unit: {unit}}}\n"
        for name, unit in units.items()
    )
    return (
        f"name: {NAME}\nframe: table\nrate_hz: {RATE_HZ}\ngroups:\n{left}{gripper}{right}"
        f"proprioception:\n{seen}cameras:\n"
        "  - {name: front, width: 64, height: 48, encoding: rgb8}\n"
        "  - {name: wrist, width: 40, height: 40, encoding: rgb8}\n"
    )


def _tool(arm: str, rotation: str, line: str) -> str:
    entries = "".join(
        f"      - {{name: {arm}_{axis}, unit: m, lower: {lower}, upper: {upper}, home: {home}, "
        f"{_LIMITS}}}\n"
        for (axis, (lower, upper)), home in zip(_AXES.items(), _HOMES[arm], strict=True)
    )
    return (
        f"  - name: {arm}\n    arm: {arm}\n    kind: ee_position\n    rotation: {rotation}\n"
        f"    tip: {arm}_tool0\n    measured: {{source: pose, pose: {arm}_tool}}\n"
        f"    entries:\n{entries}{line}"
    )


ROBOT = f"""
name: {NAME}
stand_in: false
embodiment: {NAME}
pace: camera
stale_after_s: 0.5
joint_states:
  finger: {{topic: /finger/joint_states,
           joints: {{finger: {{joint: left_finger, shut: 0.0, open: 0.04}}}}}}
poses:
  left_tool: {{topic: /left/pose, frame: table}}
  right_tool: {{topic: /right/pose, frame: table}}
cameras:
  front: {{image: /front/image_raw, encodings: [rgb8]}}
  wrist: {{image: /wrist/image_raw, encodings: [rgb8]}}
outputs:
  left: {{adapter: pose_stamped, topic: /left/target_pose, group: left, frame: table,
         silence: hold_last, rate_hz: 100}}
  right: {{adapter: pose_stamped, topic: /right/target_pose, group: right, frame: table,
          orientation: {list(DOWN)}, silence: hold_measured}}
  finger: {{adapter: joint_state, topic: /finger/target, silence: hold_last, rate_hz: 50,
           joints: {{left_finger: {{joint: finger, shut: 0.0, open: 0.04}}}}}}
workspace: {{table_z_m: {TABLE_Z_M}, clearance_m: 0.02}}
activation: {{jump: {{rad: 0.3, m: 0.05}}, ramp_s: 0.3}}
"""


def tool_pair() -> Embodiment:
    """Return the embodiment, parsed."""
    return parse_embodiment(embodiment_text(), f"{NAME}.yaml")


def write_configs(folder: Path) -> None:
    """Write embodiment, robot and task into a configuration directory."""
    texts = {
        "embodiments": embodiment_text(), "robots": ROBOT,
        "tasks": f"name: {NAME}\ninstruction: move both tools\nembodiment: {NAME}\n"
        "horizon_steps: 1000\n",
    }
    for kind, text in texts.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / f"{NAME}.yaml").write_text(text)
