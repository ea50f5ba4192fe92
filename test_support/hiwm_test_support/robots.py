"""Robots that are not in config/embodiments."""

from hiwm_core.embodiment import Embodiment, parse_embodiment

_UNITS = {"x": "m", "y": "m", "z": "m", "roll": "rad", "pitch": "rad", "yaw": "rad",
          "gripper": '"1"'}


def spatial_arm(names: str = "arm_{}") -> Embodiment:
    """Return a robot with one arm, all six axes and a gripper.

    Args:
        names: of its actions, with a placeholder for the axis.
    """
    entries = "\n".join(
        f"  - {{name: {names.format(axis)}, arm: arm, joint: {axis}_joint, unit: {unit}, "
        "lower: -3, upper: 3, max_velocity: 1, max_acceleration: 10}"
        for axis, unit in _UNITS.items()
    )
    return parse_embodiment(
        f"name: spatial\nframe: base\nrate_hz: 10.0\narms: [arm]\nactions:\n{entries}\n"
        "proprioception:\n  - {name: x, joint: x_joint, field: position, unit: m}\n"
        "home: [0, 0, 0, 0, 0, 0, 1]\ncameras:\n"
        "  - {name: top, width: 96, height: 96, encoding: rgb8}\n", "test",
    )
