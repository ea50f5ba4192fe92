"""Poses of links against hand-computed ones; URDFs that lack a link or joint are refused."""

import subprocess
import sys

import numpy as np
import pytest

from hiwm_core.errors import ConfigError
from hiwm_core.kinematics import LinkPose, RobotModel, load_model
from hiwm_test_support.arms import arm_joints, two_arms_urdf

WHERE = "arms.yaml: groups[0].measured"
LEFT = arm_joints("left")


@pytest.fixture(scope="module")
def model():
    return RobotModel(two_arms_urdf(), "arms.urdf")


def tip(model, positions, **changes):
    settings = {"link": "left_tip", "joints": LEFT, "where": WHERE, **changes}
    return LinkPose(model, **settings).pose(positions)


def test_arm_at_zero_lies_along_x(model):
    pose = tip(model, [0.0] * 6)
    np.testing.assert_allclose(pose.position, [0.7, 0.25, 0.3], atol=1e-12)
    np.testing.assert_allclose(pose.rotation, np.eye(3), atol=1e-12)


def test_waist_turns_the_arm_about_the_vertical(model):
    pose = tip(model, [np.pi / 2, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(pose.position, [0.0, 0.95, 0.3], atol=1e-12)
    np.testing.assert_allclose(pose.rotation[:, 0], [0.0, 1.0, 0.0], atol=1e-12)


def test_elbow_and_wrist_bend_down(model):
    # Positive turns about +y lower the arm: the forearm points down, the hand along -x.
    pose = tip(model, [0, 0, np.pi / 2, 0, np.pi / 2, 0])
    np.testing.assert_allclose(pose.position, [0.3 - 0.15, 0.25, 0.3 - 0.25], atol=1e-12)


def test_continuous_joints_turn_more_than_once(model):
    pose = tip(model, [0, 0, 0, 5 * np.pi / 2, 0, 0])
    np.testing.assert_allclose(pose.rotation[:, 1], [0.0, 0.0, 1.0], atol=1e-12)


def test_pose_in_the_frame_of_another_link(model):
    # The forearm's frame is at the elbow and turns with it.
    pose = tip(model, [0.3, 0.2, 0.5, 0, 0, 0], frame="left_forearm")
    np.testing.assert_allclose(pose.position, [0.4, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(pose.rotation, np.eye(3), atol=1e-12)


def test_positions_go_by_name_not_by_the_order_of_the_urdf(model):
    positions = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    straight = tip(model, positions)
    turned = tip(model, positions[::-1], joints=LEFT[::-1])
    np.testing.assert_allclose(turned.position, straight.position, atol=1e-12)


def test_joints_of_the_other_arm_may_be_listed(model):
    both = [*arm_joints("right"), *LEFT]
    pose = tip(model, [1.0] * 6 + [0.0] * 6, joints=both)
    np.testing.assert_allclose(pose.position, [0.7, 0.25, 0.3], atol=1e-12)


@pytest.mark.parametrize(("changes", "what", "remedy"), [
    ({"link": "left_tp"}, "arms.urdf has no link 'left_tp'", "did you mean 'left_tip'"),
    ({"frame": "world"}, "arms.urdf has no link 'world'", "use one of table"),
    ({"joints": [*LEFT[:5], "left_wrist_rot"]}, "no movable joint 'left_wrist_rot'",
     "did you mean 'left_wrist_rotate'"),
    ({"joints": [*LEFT, "left_mount"]}, "no movable joint 'left_mount'", "use one of"),
    ({"joints": LEFT[:5]}, "depends on left_wrist_rotate", "list every joint"),
    ({"link": "table", "frame": "left_tip", "joints": LEFT[1:]}, "depends on left_waist", "list"),
])
def test_a_urdf_that_lacks_what_is_named_is_refused(model, changes, what, remedy):
    with pytest.raises(ConfigError) as refused:
        tip(model, [0.0] * 6, **changes)
    assert what in refused.value.what
    assert refused.value.where == WHERE
    assert remedy in refused.value.remedy


@pytest.mark.parametrize(("text", "what"), [
    ("<robot", "not a URDF"),
    ("<sdf/>", "<sdf> without links"),
    ("<robot name='a'/>", "<robot> without links"),
    (two_arms_urdf().replace('child link="left_wrist"', 'child link="left_wrst"'), "one tree"),
    (two_arms_urdf().replace('"left_waist" type="revolute"', '"left_waist" type="floating"'),
     "joint 'left_waist' is floating"),
])
def test_what_is_not_a_urdf_is_refused(text, what):
    with pytest.raises(ConfigError) as refused:
        RobotModel(text, "broken.urdf")
    assert what in refused.value.what
    assert refused.value.where == "broken.urdf"
    assert refused.value.remedy


def test_urdf_is_found_by_path_beside_a_file_and_by_name(tmp_path, monkeypatch):
    (tmp_path / "urdf").mkdir()
    (tmp_path / "urdf" / "arms.urdf").write_text(two_arms_urdf())
    assert load_model(tmp_path / "urdf" / "arms.urdf", WHERE).joints
    assert load_model("arms.urdf", WHERE, folder=tmp_path / "urdf").joints
    monkeypatch.setenv("HIWM_CONFIG_DIR", str(tmp_path))
    assert load_model("arms.urdf", WHERE).joints


def test_missing_or_unreadable_urdf_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no URDF 'none.urdf' \(arms.yaml: groups"):
        load_model("none.urdf", WHERE)
    (tmp_path / "bytes.urdf").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot read the URDF"):
        load_model(tmp_path / "bytes.urdf", WHERE)


def test_without_the_library_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pinocchio", None)
    with pytest.raises(ConfigError, match=r"needs the library pinocchio.*scripts/setup"):
        RobotModel(two_arms_urdf(), "arms.urdf")


def test_the_library_is_imported_with_the_first_urdf_only():
    code = (
        "import sys, hiwm_core.kinematics, hiwm_core.embodiment; "
        "hiwm_core.embodiment.load_embodiment('planar_bimanual'); "
        "assert 'pinocchio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_wrong_number_of_positions_is_refused(model):
    with pytest.raises(ValueError, match="5 positions for 6 joints"):
        tip(model, [0.0] * 5)
