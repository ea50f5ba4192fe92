"""The URDF, the MuJoCo model and the closed form describe the same arms."""

from pathlib import Path

import mujoco
import numpy as np

from hiwm_core.kinematics import LinkPose, load_model
from hiwm_yam_pair.geometry import HINGES, SIDES, arm_joints
from hiwm_yam_pair.kinematics import tool_down
from hiwm_yam_pair.mjcf import Options, scene_xml
from hiwm_yam_pair.urdf import urdf

CONFIG = Path(__file__).resolve().parents[4] / "config"
MODEL = mujoco.MjModel.from_xml_string(scene_xml(Options(physics='timestep="0.004"')))


def mujoco_pose(side: str, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    data = mujoco.MjData(MODEL)
    for name, value in zip(arm_joints(side), joints, strict=True):
        data.qpos[MODEL.joint(name).qposadr[0]] = value
    mujoco.mj_kinematics(MODEL, data)
    site = data.site(f"{side}_tip")
    return site.xpos.copy(), site.xmat.reshape(3, 3).copy()


def test_the_committed_urdf_is_the_generated_one() -> None:
    assert (CONFIG / "urdf" / "yam_pair.urdf").read_text() == urdf()


def test_urdf_and_mujoco_agree_within_a_micrometre() -> None:
    model = load_model("yam_pair.urdf", "test")
    rng = np.random.default_rng(0)
    lower = np.array([hinge.lower_rad for hinge in HINGES])
    upper = np.array([hinge.upper_rad for hinge in HINGES])
    for side in SIDES:
        link = LinkPose(
            model, link=f"{side}_tip", joints=arm_joints(side), frame="table", where="test"
        )
        for _ in range(50):
            joints = rng.uniform(lower, upper)
            position, rotation = mujoco_pose(side, joints)
            pose = link.pose(joints)
            np.testing.assert_allclose(pose.position, position, atol=1e-6)
            np.testing.assert_allclose(pose.rotation, rotation, atol=1e-6)


def test_the_closed_form_points_the_tool_down() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        x, y, z, yaw = rng.uniform((0.2, 0.0, 0.0, -0.8), (0.45, 0.2, 0.2, 2.2))
        for side, sign in (("left", 1.0), ("right", -1.0)):
            joints = np.array(tool_down(side, x, sign * y, z, yaw))
            position, rotation = mujoco_pose(side, joints)
            np.testing.assert_allclose(position, [x, sign * y, z], atol=1e-9)
            np.testing.assert_allclose(rotation[:, 2], [0, 0, -1], atol=1e-9)
            np.testing.assert_allclose(rotation[:2, 0], [np.cos(yaw), np.sin(yaw)], atol=1e-9)
