"""Measured counterparts: every source, and proprioception that is not the action."""

import math
from pathlib import Path

import numpy as np
import pytest

from hiwm_core.embodiment import Embodiment, load_embodiment, parse_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.measured import (
    MeasuredAction,
    MeasuredFromProprioception,
    MeasuredPose,
    measured_columns,
)
from hiwm_core.rotations import matrix_from_vector, quaternion_from_matrix, sixd_from_matrix
from hiwm_test_support.arms import arm_joints, two_arms_urdf
from hiwm_test_support.robots import MIXED_TEXT, mixed_robot

LEFT = arm_joints("left")
PLANAR = load_embodiment("planar_bimanual")


def with_urdf(folder: Path, rotation: str = "yaw", proprioception: str = "") -> Embodiment:
    """Return the mixed robot whose right tool is the left tip of the two arms of a URDF."""
    urdf = folder / "arms.urdf"
    urdf.write_text(two_arms_urdf())
    text = MIXED_TEXT.replace("urdf: mixed.urdf", f"urdf: {urdf}").replace(
        "link: right_tool0, joints: [j1, j2]", f"link: left_tip, joints: [{', '.join(LEFT)}]"
    ).replace("cameras:", f"{proprioception}cameras:")
    assert rotation == "yaw"
    return parse_embodiment(text, "test")


def test_every_source_gives_its_entries_in_order(tmp_path: Path) -> None:
    robot = with_urdf(tmp_path)
    turn = matrix_from_vector([0.3, -0.2, 0.9])
    joints = dict.fromkeys(LEFT, 0.0) | {
        "left_waist": math.pi / 2, "wrist": 0.7, "column": 0.4, "left_finger": 0.25, "other": 9.0,
    }
    pose = MeasuredPose(position=[0.1, 0.2, 0.3], quaternion=quaternion_from_matrix(turn))
    measured = MeasuredAction(robot).array(joints, {"left_tool": pose})
    np.testing.assert_allclose(measured, [
        0.1, 0.2, 0.3, *sixd_from_matrix(turn),  # the pose stream
        0.25,  # the gripper
        0.0, 0.95, 0.3, math.pi / 2,  # kinematics: the arm at y = 0.25 m, turned to point along +y
        0.4, 0.7,  # joints
    ], atol=1e-9)


def test_a_missing_joint_is_named() -> None:
    with pytest.raises(ConfigError) as error:
        MeasuredAction(PLANAR).array({"column": 0.1})
    for word in ("left_x_joint", "column", "planar_bimanual"):
        assert word in str(error.value)


def test_a_missing_or_impossible_pose_is_named(tmp_path: Path) -> None:
    measured = MeasuredAction(with_urdf(tmp_path))
    joints = dict.fromkeys([*LEFT, "wrist", "column", "left_finger"], 0.0)
    with pytest.raises(ConfigError, match="'left_tool' is missing"):
        measured.array(joints)
    nothing = MeasuredPose(position=[0, 0, 0], quaternion=[0, 0, 0, 0])
    with pytest.raises(ConfigError, match="left_tool.*quaternion"):
        measured.array(joints, {"left_tool": nothing})
    far = MeasuredPose(position=[math.nan, 0, 0], quaternion=[0, 0, 0, 1])
    with pytest.raises(ConfigError, match="not finite"):
        measured.array(joints, {"left_tool": far})


def test_a_link_that_the_urdf_lacks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "arms.urdf").write_text(two_arms_urdf())
    text = MIXED_TEXT.replace("urdf: mixed.urdf", f"urdf: {tmp_path / 'arms.urdf'}")
    with pytest.raises(ConfigError, match="right_tool0"):
        MeasuredAction(parse_embodiment(text, "test"))


def test_proprioception_in_another_order_and_length_is_read_by_name() -> None:
    first = "  - {name: left_x,  joint: left_x_joint,  field: position, unit: m}"
    text = PLANAR.text.replace(first, (
        "  - {name: speed, joint: left_x_joint, field: velocity, unit: m/s}\n"
        "  - {name: right_y_seen, action: right_y, unit: m}\n"
    )).replace("  - {name: right_y, joint: right_y_joint, field: position, unit: m}",
               "  - {name: left_x, joint: left_x_joint, field: position, unit: m}")
    robot = parse_embodiment(text, "test")
    assert measured_columns(robot).tolist() == [4, 2, 3, 1]
    seen = np.arange(10.0).reshape(2, 5)
    np.testing.assert_array_equal(
        MeasuredFromProprioception(robot).array(seen), seen[:, [4, 2, 3, 1]]
    )


def test_a_velocity_is_not_a_measured_position() -> None:
    text = PLANAR.text.replace(
        "joint: right_y_joint, field: position, unit: m}",
        "joint: right_y_joint, field: velocity, unit: m/s}",
    )
    with pytest.raises(ConfigError) as error:
        MeasuredFromProprioception(parse_embodiment(text, "test"))
    assert "counterpart of right_y" in str(error.value) and "action: ENTRY" in str(error.value)


def test_proprioception_that_measures_too_little_names_what_is_missing() -> None:
    with pytest.raises(ConfigError) as error:
        MeasuredFromProprioception(mixed_robot())
    for name in ("left_x", "left_turn_r11", "j1, j2", "column", "wrist"):
        assert name in str(error.value)
    assert "left_z" not in str(error.value)


def test_kinematics_compute_what_proprioception_has_the_joints_of(tmp_path: Path) -> None:
    lines = "".join(
        f"  - {{name: seen_{name}, joint: {name}, field: position, unit: rad}}\n" for name in LEFT
    ) + "".join(
        f"  - {{name: seen_{name}, action: {name}, unit: {unit}}}\n"
        for name, unit in [
            *((f"left_{axis}", "m") for axis in "xy"),
            *((f"left_turn_{part}", '"1"') for part in ("r11", "r21", "r31", "r12", "r22", "r32")),
            ("left_gripper", '"1"'), ("column", "m"), ("wrist", "rad"),
        ]
    )
    robot = with_urdf(tmp_path, proprioception=lines)
    seen = np.zeros((2, robot.proprio_dim))
    names = [entry.name for entry in robot.proprioception]
    seen[1, names.index("seen_left_waist")] = math.pi / 2
    seen[1, names.index("left_z")] = 0.3
    measured = MeasuredFromProprioception(robot).array(seen)
    np.testing.assert_allclose(measured[0, 10:14], [0.7, 0.25, 0.3, 0.0], atol=1e-9)
    np.testing.assert_allclose(measured[1, 10:14], [0.0, 0.95, 0.3, math.pi / 2], atol=1e-9)
    assert measured[1, 2] == 0.3


def test_predicted_poses_are_those_of_the_predicted_joints() -> None:
    robot = load_embodiment("yam_pair_cartesian")
    names = [entry.name for entry in robot.proprioception]
    measure = MeasuredFromProprioception(robot)
    before = np.zeros(robot.proprio_dim)
    predicted = before.copy()
    predicted[names.index("left_joint1")] = 0.3
    predicted[names.index("left_x")] = 7.0
    settled = measure.settled(predicted, before)
    pose = [names.index(f"left_{entry}") for entry in ("x", "y", "z", "yaw")]
    np.testing.assert_allclose(settled[pose], measure.array(predicted)[:4])
    untouched = [i for i, name in enumerate(names) if "joint" in name or "gripper" in name]
    np.testing.assert_array_equal(settled[untouched], predicted[untouched])
