"""Targets that leave the workspace, touch the table or bring links together are named."""

import dataclasses

import numpy as np
import pytest

from hiwm_core.errors import ConfigError
from hiwm_core.kinematics import load_model
from hiwm_core.link_distances import LinkDistances
from hiwm_core.robot_config import load_robot
from hiwm_core.robots.safety import Box, Workspace
from hiwm_core.workspace_check import WorkspaceCheck, file_workspace, spoken
from hiwm_test_support import tool_pair
from hiwm_test_support.arms import two_arms, two_arms_urdf
from hiwm_test_support.robots import mixed_robot

BOX = Box(lower=(-0.3, -0.8, 0.0), upper=(0.8, 0.8, 0.9))
MOVING = ("forearm", "wrist", "hand")
LINKS = tuple(f"{arm}_{link}" for arm in ("left", "right") for link in MOVING)
PAIRS = tuple((f"left_{a}", f"right_{b}") for a in MOVING for b in MOVING)
ARMS = two_arms()
NAMES = [entry.name for entry in ARMS.actions]


@pytest.fixture(scope="module")
def urdf(tmp_path_factory):
    path = tmp_path_factory.mktemp("urdf") / "arms.urdf"
    path.write_text(two_arms_urdf())
    return str(path)


@pytest.fixture(scope="module")
def check(urdf):
    return make(urdf, links=LINKS, box=BOX, table_z_m=0.0, pairs=PAIRS, clearance_m=0.03)


def make(urdf, embodiment=ARMS, **section):
    return WorkspaceCheck(Workspace(urdf=urdf, **section), embodiment, "two_arms.yaml")


def arms(**joints):
    """Return an action array: named joints, all others 0."""
    action = np.zeros(len(NAMES))
    for name, value in joints.items():
        action[NAMES.index(name)] = value
    return action


HOME = arms()


def test_a_free_target_has_no_problem(check):
    assert check.problem(arms(left_waist=0.2, right_elbow=-0.5, left_gripper=1.0), HOME) == ""


# The tip is 0.7 m from the waist's axis, at y = 0.25 and z = 0.3; the hand is 0.1 m wide.
def test_beyond_the_box(check):
    reason = check.problem(arms(left_waist=1.5), arms(left_waist=1.0))
    assert reason.startswith("left hand would be ")
    assert reason.endswith("mm outside the workspace, past upper y")


def test_too_near_to_the_table(check):
    # Hand 0.35 rad below the shoulder: .3 - .7 sin(.35) - .02 cos(.35) = .041 m; at .37, .028 m.
    assert check.problem(arms(left_shoulder=0.35), HOME) == ""
    reason = check.problem(arms(left_shoulder=0.37), HOME)
    assert reason == "left hand would be 28 mm above the table (at least 30 mm)"


def test_below_the_table(check):
    reason = check.problem(arms(right_shoulder=1.0), arms(right_shoulder=0.9))
    assert reason.startswith("right hand would be ") and "below the table's top" in reason


def test_arms_that_come_together(check):
    # Both hands turned inwards by a: the gap is 2 (.25 - .7 sin(a) - .05 cos(a)) m.
    free, near = arms(left_waist=-0.26, right_waist=0.26), arms(left_waist=-0.28, right_waist=0.28)
    assert check.problem(free, HOME) == ""
    reason = check.problem(near, free)
    assert reason == "left hand would be 17 mm from the right hand (at least 30 mm)"
    through = check.problem(arms(left_waist=-0.5, right_waist=0.5), near)
    assert through == "left hand would be in the right hand (at least 30 mm)"


def test_the_path_to_a_free_target_is_checked(check):
    # Both configurations are free, one hand on each side of the other arm.
    start, end = arms(left_waist=-0.3, right_waist=-0.9), arms(left_waist=-1.1, right_waist=0.0)
    assert check.problem(start, start) == "" and check.problem(end, end) == ""
    assert "would be" in check.problem(end, start)


def test_a_violated_configuration_may_be_left_and_not_entered_further(check):
    inside = arms(left_shoulder=0.39)
    assert check.problem(inside, inside) == ""
    assert check.problem(arms(left_shoulder=0.38), inside) == ""
    assert "above the table" in check.problem(arms(left_shoulder=0.40), inside)
    # Another rule still counts on the way out.
    assert "upper y" in check.problem(arms(left_shoulder=0.3, left_waist=1.6), inside)


def test_the_other_arm_moves_while_one_is_in_violation(check):
    inside = arms(left_shoulder=0.39)
    assert check.problem(arms(left_shoulder=0.39, right_elbow=-0.3), inside) == ""


def test_the_quick_answer_agrees_with_the_distances(urdf):
    model = load_model(urdf, "two_arms.yaml")
    distances = LinkDistances(
        model, links=LINKS, pairs=PAIRS, box=BOX, table_z_m=0.0, clearance_m=0.03, where="test"
    )
    rng = np.random.default_rng(0)
    answers = []
    for _ in range(300):
        positions = model.neutral() + rng.uniform(-0.5, 0.5, model.neutral().shape)
        answers.append(distances.allows(positions))
        assert answers[-1] == bool(np.all(distances.measure(positions) >= distances.least))
    assert 50 < sum(answers) < 250


def test_links_without_shapes_count_as_points(urdf):
    points = make(urdf, links=("left_tip",), table_z_m=0.0)
    # Tip exactly 0.3 - 0.7 sin(a) above the table.
    assert points.problem(arms(left_shoulder=np.arcsin(0.299 / 0.7)), HOME) == ""
    reason = points.problem(arms(left_shoulder=np.arcsin(0.31 / 0.7)), HOME)
    assert reason == "left tip would be 10 mm below the table's top"


def test_box_and_table_in_the_frame_of_a_link(urdf):
    # The base of the left arm stands at y = .25.
    section = {"links": ("left_tip",), "box": Box(lower=(-1, -0.1, 0), upper=(1, 0.1, 1))}
    at_base = make(urdf, frame="left_base", **section)
    assert at_base.problem(arms(left_waist=0.1), HOME) == ""
    assert "upper y" in at_base.problem(arms(left_waist=0.2), HOME)
    assert make(urdf, **section).problem(HOME, arms(left_waist=-0.5)).endswith("past upper y")


def test_meshes_count_as_convex_hulls(tmp_path):
    corners = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    faces = ["1 2 4", "1 4 3", "5 7 8", "5 8 6", "1 5 6", "1 6 2", "3 4 8", "3 8 7"]
    (tmp_path / "cube.obj").write_text(
        "\n".join([f"v {x} {y} {z}" for x, y, z in corners] + [f"f {face}" for face in faces])
    )
    text = two_arms_urdf().replace(
        '<box size="0.07 0.1 0.04"/>', '<mesh filename="cube.obj" scale="0.07 0.1 0.04"/>'
    )
    (tmp_path / "arms.urdf").write_text(text)
    hulls = make(str(tmp_path / "arms.urdf"), links=("left_hand",), table_z_m=0.0)
    # The cube's corner is the hand's frame here: it starts 35 mm before the tip, .3 m up.
    assert hulls.problem(arms(left_shoulder=0.3), HOME) == ""
    assert "below the table" in hulls.problem(arms(left_shoulder=0.5), HOME)


def test_a_missing_mesh_is_refused(tmp_path):
    text = two_arms_urdf().replace(
        '<box size="0.07 0.1 0.04"/>', '<mesh filename="package://arm/hand.stl"/>'
    )
    (tmp_path / "arms.urdf").write_text(text)
    with pytest.raises(ConfigError, match=r"hand\.stl.*\(two_arms\.yaml: workspace"):
        make(str(tmp_path / "arms.urdf"), links=("left_hand",), table_z_m=0.0)


@pytest.mark.parametrize(("section", "what", "where"), [
    ({"links": ("left_hnd",), "box": BOX}, "no link 'left_hnd'", "workspace"),
    ({"pairs": (("left_hand", "right_hnd"),)}, "no link 'right_hnd'", "workspace"),
    ({"links": ("left_hand",), "box": BOX, "frame": "world"}, "no link 'world'", "workspace"),
    ({"pairs": (("left_tip", "right_hand"),)}, "no collision shape", "workspace.pairs[0]"),
])
def test_a_urdf_that_lacks_what_is_named_is_refused(urdf, section, what, where):
    with pytest.raises(ConfigError) as refused:
        make(urdf, **section)
    assert what in refused.value.what
    assert refused.value.where == f"two_arms.yaml: {where}"
    assert refused.value.remedy


def test_a_missing_urdf_is_refused():
    with pytest.raises(ConfigError, match=r"no URDF.*\(two_arms.yaml: workspace.urdf\)"):
        make("/nowhere/arms.urdf", links=LINKS, box=BOX)


def test_joints_that_the_urdf_lacks_are_refused(tmp_path):
    path = tmp_path / "arms.urdf"
    path.write_text(two_arms_urdf().replace('joint name="left_elbow"', 'joint name="l_elbow"'))
    with pytest.raises(ConfigError, match="no movable joint 'left_elbow'.*did you mean 'l_elbow'"):
        make(str(path), links=LINKS, box=BOX)


def test_a_joint_that_no_action_commands_is_refused(urdf):
    groups = tuple(
        dataclasses.replace(group, joints=group.joints[1:], start=1, size=5)
        if group.name == "left_joints" else group for group in ARMS.groups
    )
    with pytest.raises(ConfigError, match="'left_hand' moves with left_waist, which no action"):
        make(urdf, dataclasses.replace(ARMS, groups=groups), links=("left_hand",), box=BOX)


# The mixed robot commands its left tool in left_base and its right one in table.
def right_tool(frame="table", **section):
    groups = tuple(g for g in mixed_robot().groups if g.name != "left")
    robot = dataclasses.replace(mixed_robot(), groups=groups)
    return WorkspaceCheck(Workspace(frame=frame, **section), robot, "mixed.yaml"), robot


def moved(robot, **entries):
    action = np.array(robot.home)
    for name, value in entries.items():
        action[[entry.name for entry in robot.actions].index(name)] = value
    return action


def test_end_effectors_are_checked_by_their_position():
    box = Box(lower=(-0.2, -0.2, 0.0), upper=(0.2, 0.2, 0.4))
    tool, robot = right_tool(box=box, table_z_m=0.02, clearance_m=0.01)
    home = np.array(robot.home)
    assert tool.problem(moved(robot, right_x=0.19, right_yaw=2.0), home) == ""
    reason = tool.problem(moved(robot, right_x=0.21), home)
    assert reason == "right tool0 would be 10 mm outside the workspace, past upper x"
    reason = tool.problem(moved(robot, right_z=0.025), home)
    assert reason == "right tool0 would be 5 mm above the table (at least 10 mm)"
    outside = moved(robot, right_x=0.25)
    assert tool.problem(moved(robot, right_x=0.24), outside) == ""
    assert "upper x" in tool.problem(moved(robot, right_x=0.26), outside)


def test_end_effectors_of_another_frame_are_refused():
    with pytest.raises(ConfigError, match="group right is commanded in table, box and table are"):
        right_tool(frame="base", box=BOX)


def test_joint_arms_need_a_urdf():
    with pytest.raises(ConfigError, match=r"two_arms commands joints.*workspace\.urdf"):
        make("", box=BOX)


@pytest.mark.parametrize(("link", "words"), [
    ("left_wrist_3_link", "left wrist 3"), ("arm_1/link_2", "arm 1 link 2"), ("tool0", "tool0"),
])
def test_links_in_words(link, words):
    assert spoken(link) == words


def test_a_program_without_topics_reads_the_workspace_of_a_robot_file(tmp_path, monkeypatch):
    tool_pair.write_configs(tmp_path)
    monkeypatch.setenv("HIWM_CONFIG_DIR", str(tmp_path))
    robot, pair = load_robot(tool_pair.NAME), tool_pair.tool_pair()
    check = file_workspace(robot, pair)
    home = np.array(pair.home)
    assert "above the table" in check.problem(home - 0.07 * (home == 0.3), home)
    assert file_workspace(dataclasses.replace(robot, workspace=None), pair) is None
    with pytest.raises(ConfigError, match="it is a tool_pair, the task's is a two_arms"):
        file_workspace(robot, ARMS)
    on_topic = Workspace(urdf_topic="robot_description", links=("hand",), table_z_m=0.0)
    with pytest.raises(ConfigError, match="ros2 param get"):
        file_workspace(dataclasses.replace(robot, workspace=on_topic), pair)
