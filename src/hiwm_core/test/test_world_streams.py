"""What a world publishes is read back as the arrays that it came from."""

import math

import numpy as np
import pytest

from hiwm_core.embodiment import Embodiment, load_embodiment, parse_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.frames import RobotReader
from hiwm_core.measured import MeasuredAction, MeasuredFromProprioception
from hiwm_core.rotations import matrix_from_vector, sixd_from_matrix
from hiwm_core.world_streams import WorldStreams
from hiwm_test_support.robots import MIXED_TEXT, mixed_robot, other_proprioception

PLANAR = load_embodiment("planar_bimanual")


def test_joints_in_another_order_with_velocities_are_read_back() -> None:
    robot = other_proprioception(PLANAR)
    seen = np.arange(1.0, 9.0)
    joints = WorldStreams(robot).joints(seen)
    assert joints.name == robot.joint_names and not joints.effort
    reading = RobotReader(robot).read(joints)
    np.testing.assert_array_equal(reading.proprio, seen)
    np.testing.assert_array_equal(reading.measured, [8.0, 6.0, 4.0, 2.0])
    np.testing.assert_array_equal(MeasuredFromProprioception(robot).array(seen), reading.measured)


def measuring_everything() -> Embodiment:
    """Return the mixed robot without kinematics, with all entries in proprioception."""
    text = MIXED_TEXT.replace(
        "{source: urdf, urdf: mixed.urdf, link: right_tool0, joints: [j1, j2]}",
        "{source: pose, pose: right_tool}",
    )
    lines = "".join(
        f'  - {{name: seen_{entry.name}, action: {entry.name}, unit: "{entry.unit}"}}\n'
        for entry in mixed_robot().actions if entry.name != "left_z"
    )
    return parse_embodiment(text.replace("cameras:", f"{lines}cameras:"), "test")


def test_poses_and_grippers_are_read_back() -> None:
    robot = measuring_everything()
    measured = np.array(robot.home)
    measured[3:9] = sixd_from_matrix(matrix_from_vector([0.5, -1.0, 0.2]))
    measured[13] = 2.5
    seen = np.zeros(robot.proprio_dim)
    for i, entry in enumerate(robot.proprioception):
        if entry.action:
            seen[i] = measured[[action.name for action in robot.actions].index(entry.action)]
    streams = WorldStreams(robot)
    joints, poses = streams.joints(seen), streams.poses(seen)
    assert set(poses) == {"left_tool", "right_tool"} == set(robot.pose_names)
    back = MeasuredAction(robot).array(
        dict(zip(joints.name, joints.position, strict=True)), poses
    )
    np.testing.assert_allclose(back, measured, atol=1e-12)
    assert not math.isnan(joints.position[joints.name.index("left_finger")])
    assert math.isnan(joints.velocity[joints.name.index("left_finger")])


def test_a_world_that_does_not_measure_the_action_is_refused() -> None:
    with pytest.raises(ConfigError, match="counterpart of left_x"):
        WorldStreams(mixed_robot())
