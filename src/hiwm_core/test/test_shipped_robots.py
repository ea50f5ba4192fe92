"""Every shipped robot file fits its embodiment, and says where its facts come from."""

import re
from pathlib import Path

import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.robot_config import load_robot

CONFIG = Path(__file__).resolve().parents[3] / "config"
ROBOTS = sorted(path.stem for path in (CONFIG / "robots").glob("*.yaml"))
REAL = [name for name in ROBOTS if not load_robot(CONFIG / "robots" / f"{name}.yaml").stand_in]
# A repository and a file in it, or several.
SOURCE = re.compile(r"^# .*\b[\w.-]+/[\w.-]+(, jazzy)?[:,]", re.MULTILINE)


def configs(name):
    robot = load_robot(CONFIG / "robots" / f"{name}.yaml")
    embodiment = load_embodiment(CONFIG / "embodiments" / f"{robot.embodiment}.yaml")
    return robot, embodiment


def test_the_arms_that_the_project_promises_are_shipped():
    assert {"ur5e", "ur5e_servo", "franka_fr3", "aloha", "i2rt_yam_pair", "so101", "xarm7",
            "kinova_gen3"} <= set(ROBOTS)


@pytest.mark.parametrize("name", ROBOTS)
def test_files_load_and_are_named_as_their_files(name):
    # Loading checks a robot against its embodiment: joints, poses, groups, cameras.
    robot, embodiment = configs(name)
    assert (robot.name, embodiment.name) == (name, robot.embodiment)


@pytest.mark.parametrize("name", ROBOTS)
def test_grippers_are_mapped_on_both_sides(name):
    robot, embodiment = configs(name)
    grippers = {j for group in embodiment.groups if group.kind == "gripper" for j in group.joints}
    for side in (robot.joint_states, robot.outputs):
        mapped = {e.joint for part in side.values() for e in part.entries if e.gripper}
        assert mapped == grippers


@pytest.mark.parametrize("name", REAL)
def test_real_robots_are_bounded_on_activation_and_need_no_stand_in(name):
    robot, _ = configs(name)
    assert not robot.stand_in and not robot.lockstep and not robot.ground_truth
    assert robot.activation.ramp_s > 0.0
    assert robot.activation.jump.rad is not None and robot.activation.jump.rad <= 0.3


@pytest.mark.parametrize("name", REAL)
def test_files_name_the_sources_of_their_facts(name):
    for folder, file in (("robots", name), ("embodiments", configs(name)[0].embodiment)):
        assert SOURCE.search((CONFIG / folder / f"{file}.yaml").read_text()), (folder, file)


@pytest.mark.parametrize("name", REAL)
def test_the_page_lists_the_robot(name):
    page = (CONFIG.parent / "docs" / "robots.md").read_text()
    assert f"`{name}`" in page
