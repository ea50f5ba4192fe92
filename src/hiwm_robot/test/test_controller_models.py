"""The models that the conformance suite drives: what real controllers accept, ignore and do."""

import numpy as np
import pytest

from hiwm_test_support.controllers.cartesian import TWIST, ServoInput, TwistInput, moved
from hiwm_test_support.controllers.forward import ForwardController
from hiwm_test_support.controllers.gripper import GripperServer, Outcome
from hiwm_test_support.controllers.plant import Plant
from hiwm_test_support.controllers.trajectory import Point, Trajectory, TrajectoryController
from hiwm_test_support.controllers.vendors import SpeedCheck, XSeries

JOINTS = ("a", "b")
DT = 0.01


def controller(**options):
    model = TrajectoryController(JOINTS, period_s=DT, **options)
    model.activate(np.array([0.1, 0.2]))
    return model


def trajectory(*points, joints=JOINTS, stamp=0.0):
    """Points are (seconds, position, position ...)."""
    return Trajectory(joints=joints, stamp=stamp, points=tuple(
        Point(seconds=seconds, positions=tuple(positions)) for seconds, *positions in points
    ))


def run(model, seconds, start=0.0, measured=(0.1, 0.2), scaling=1.0):
    """Return the commands [N, J] of updates from start on, with a fixed measured state."""
    count = round(seconds / DT)
    return np.array([
        model.update(start + i * DT, DT, np.array(measured), scaling) for i in range(count)
    ])


# ---- plant ----

def test_a_plant_is_limited_in_speed_and_lags():
    plant = Plant([0.0], max_speed=1.0, lag_s=0.1)
    assert plant.step([5.0], 0.01) == pytest.approx([0.01])
    for _ in range(1000):
        plant.step([0.05], 0.01)
    assert plant.positions == pytest.approx([0.05], abs=1e-6)


def test_a_plant_ignores_errors_inside_its_dead_band():
    plant = Plant([0.0], max_speed=1.0, dead_band=0.02)
    assert plant.step([0.02], 1.0) == pytest.approx([0.0])
    assert plant.step([0.03], 1.0) == pytest.approx([0.03])


# ---- joint_trajectory_controller ----

def test_an_active_trajectory_controller_holds_where_it_was_activated():
    assert run(controller(), 0.1, measured=(0.5, 0.5)) == pytest.approx(
        np.tile([0.1, 0.2], (10, 1))
    )


def test_an_inactive_trajectory_controller_swallows_messages():
    model = TrajectoryController(JOINTS, period_s=DT)
    assert model.receive(trajectory((0.1, 1.0, 1.0)), 0.0) == ""
    assert model.update(0.0, DT, np.zeros(2)) is None
    model.activate(np.zeros(2))
    assert run(model, 0.5, measured=(0, 0)) == pytest.approx(np.zeros((50, 2)))


@pytest.mark.parametrize(("message", "reason"), [
    (trajectory((0.1, 1.0), joints=("a",)), "do not match"),
    (trajectory((0.1, 1.0, 1.0), joints=("a", "x")), "unknown joint x"),
    (Trajectory(joints=JOINTS, points=()), "empty"),
    (trajectory((0.2, 0, 0), (0.2, 1, 1)), "increasing"),
    (trajectory((0.1, 1.0)), "size"),
    (trajectory((0.1, 1.0, 1.0), stamp=5.0), "past"),
    (Trajectory(joints=JOINTS, points=(
        Point(seconds=0.1, positions=(0, 0), velocities=(0, 1)),)), "velocity"),
    (Trajectory(joints=JOINTS, points=(
        Point(seconds=0.1, positions=(0, 0), effort=(0, 1)),)), "effort"),
])
def test_a_trajectory_controller_rejects(message, reason):
    assert reason in controller().receive(message, now=10.0)


def test_a_trajectory_controller_accepts_nan():
    model = controller()
    assert model.receive(trajectory((0.1, np.nan, 0.0)), 0.0) == ""
    assert np.isnan(run(model, 0.2)[-1][0])


def test_a_trajectory_controller_sorts_joints_by_name():
    model = controller()
    model.receive(trajectory((0.1, 2.0, 1.0), joints=("b", "a")), 0.0)
    assert run(model, 0.2)[-1] == pytest.approx([1.0, 2.0])


def test_a_partial_goal_leaves_the_other_joints():
    model = controller(partial=True)
    assert model.receive(trajectory((0.1, 1.0), joints=("b",)), 0.0) == ""
    assert run(model, 0.2)[-1] == pytest.approx([0.1, 1.0])


def test_a_trajectory_ramps_from_the_measured_state_and_holds_for_ever():
    model = controller()
    model.receive(trajectory((0.1, 1.1, 0.2)), 0.0)
    commands = run(model, 10.0)[:, 0]
    assert np.diff(commands).max() == pytest.approx(0.1)
    assert commands[0] == pytest.approx(0.2) and commands[-1] == pytest.approx(1.1)


def test_a_new_trajectory_starts_at_the_measured_state_or_at_the_last_command():
    for from_desired, first in ((False, 0.1 + 0.1 * 0.9), (True, 1.0)):
        model = controller(from_desired=from_desired)
        model.receive(trajectory((0.1, 1.0, 0.2)), 0.0)
        run(model, 0.2)
        model.receive(trajectory((0.1, 1.0, 0.2)), 0.2)
        assert run(model, DT, start=0.2)[0][0] == pytest.approx(first)


def test_a_first_point_at_zero_jumps():
    model = controller()
    model.receive(trajectory((0.0, 3.0, 3.0)), 0.0)
    assert run(model, DT)[0] == pytest.approx([3.0, 3.0])


def test_a_stamped_trajectory_waits_for_its_time():
    model = controller()
    model.receive(trajectory((0.1, 1.1, 0.2), stamp=1.0), 0.0)
    commands = run(model, 1.5)
    assert commands[50][0] == pytest.approx(0.1 + 1.0 * 0.51 / 1.1, abs=0.02)
    assert commands[-1][0] == pytest.approx(1.1)


def test_speed_scaling_of_zero_freezes_a_trajectory():
    model = controller()
    model.receive(trajectory((1.0, 1.1, 0.2)), 0.0)
    before = run(model, 0.5)[-1]
    frozen = run(model, 0.5, start=0.5, scaling=0.0)
    assert np.ptp(frozen, axis=0) == pytest.approx([0, 0], abs=1e-9)
    assert frozen[-1] == pytest.approx(before)
    assert run(model, 0.6, start=1.0)[-1] == pytest.approx([1.1, 0.2])


def test_beyond_the_tolerance_the_measured_state_is_held():
    model = controller(tolerance=0.2)
    model.receive(trajectory((1.0, 1.1, 0.2)), 0.0)
    assert run(model, 1.0)[-1] == pytest.approx([0.1, 0.2])
    assert model.holding


# ---- forward_command_controller ----

def test_a_forward_controller_steps_and_has_no_time_out():
    model = ForwardController(JOINTS)
    model.activate()
    assert model.update() is None
    model.receive([1.0, 2.0])
    assert model.update() == pytest.approx([1.0, 2.0])
    assert model.update() == pytest.approx([1.0, 2.0])


def test_a_wrong_length_deactivates_a_forward_controller():
    model = ForwardController(JOINTS)
    model.activate()
    model.receive([1.0])
    assert model.update() is None
    assert model.failed and not model.active


def test_a_forward_controller_drops_non_finite_messages():
    model = ForwardController(JOINTS)
    model.activate()
    assert model.receive([np.nan, 1.0])
    assert model.update() is None and model.active


def test_activation_forgets_what_came_before():
    model = ForwardController(JOINTS)
    model.receive([1.0, 2.0])
    model.activate()
    assert model.update() is None


# ---- grippers ----

def advance(server, seconds):
    for _ in range(round(seconds / DT)):
        server.update(DT)


def test_a_gripper_reaches_its_goal():
    server = GripperServer(position=0.0, speed=0.1)
    goal = server.receive((0.04,))
    advance(server, 1.0)
    assert goal.outcome is Outcome.SUCCEEDED
    assert server.position == pytest.approx(0.04)


def test_a_new_goal_preempts_the_old_one():
    server = GripperServer(position=0.0, speed=0.1)
    first, second = server.receive((0.08,)), server.receive((0.0,))
    assert (first.outcome, second.outcome) == (Outcome.CANCELED, Outcome.EXECUTING)


def test_a_goal_with_two_positions_is_refused():
    assert GripperServer(position=0.0, speed=0.1).receive((0.0, 0.1)) is None


@pytest.mark.parametrize(("allowed", "outcome"), [
    (False, Outcome.ABORTED), (True, Outcome.SUCCEEDED),
])
def test_an_object_stalls_a_gripper(allowed, outcome):
    server = GripperServer(
        position=0.08, speed=0.1, allow_stalling=allowed, object_between=(0.0, 0.04)
    )
    goal = server.receive((0.0,))
    advance(server, 2.0)
    assert goal.outcome is outcome and goal.stalled
    assert server.position == pytest.approx(0.04, abs=2e-3)


# ---- Cartesian ----

def servo(**options):
    model = ServoInput(planning_frame="base_link", **options)
    model.switch(TWIST)
    model.pause(False)
    return model


def send(model, stamp=0.0, frame="base_link", x=1.0):
    model.receive(stamp=stamp, frame=frame, twist=[x, 0, 0, 0, 0, 0])


def test_servo_moves_by_a_fresh_twist_and_halts_on_a_stale_one():
    model = servo()
    send(model)
    assert model.update(0.05)[0] == pytest.approx(1.0)
    speeds = [model.update(0.1 + i * DT)[0] for i in range(30)]
    assert 0.0 < speeds[0] < 1.0 and speeds[-1] == 0.0


@pytest.mark.parametrize("frame", ["", "tool0"])
def test_servo_refuses_a_missing_or_another_frame(frame):
    model = servo()
    send(model, frame=frame)
    assert model.update(0.0) == pytest.approx(np.zeros(6))
    assert "expected 'base_link'" in model.warnings[0]


def test_servo_needs_its_command_type_and_starts_paused():
    model = ServoInput(planning_frame="base_link")
    send(model)
    assert model.update(0.0) == pytest.approx(np.zeros(6))
    model.pause(False)
    assert model.update(0.0) == pytest.approx(np.zeros(6))
    assert "command type" in model.warnings[0]
    assert not model.switch(7)


def test_unitless_twists_are_scaled():
    model = servo(scale=(0.4, 0.8))
    model.receive(stamp=0.0, frame="base_link", twist=[1, 0, 0, 0, 0, 1])
    assert model.update(0.0) == pytest.approx([0.4, 0, 0, 0, 0, 0.8])


def test_a_twist_controller_moves_for_ever():
    model = TwistInput()
    model.activate()
    model.receive([0.1, 0, 0, 0, 0, 0])
    assert [model.update()[0] for _ in range(1000)][-1] == pytest.approx(0.1)
    model.deactivate()
    assert model.update() == pytest.approx(np.zeros(6))


def test_a_pose_moves_by_a_twist_in_the_base_frame():
    position, quaternion = np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0])
    for _ in range(100):
        position, quaternion = moved(
            position, quaternion, np.array([0.1, 0, 0, 0, 0, np.pi / 2]), 0.01
        )
    assert position == pytest.approx([0.1, 0, 0])
    assert quaternion == pytest.approx([0, 0, np.sin(np.pi / 4), np.cos(np.pi / 4)])


# ---- makers' rules ----

def test_an_interbotix_group_goes_by_index_and_checks_its_length():
    arm = XSeries(group="arm", joints=("waist", "shoulder"))
    arm.receive_group("arm", [0.1, 0.2])
    arm.receive_group("arm", [0.1])
    arm.receive_group("hand", [0.1, 0.2])
    arm.receive_single("gripper", 1.0)
    arm.receive_single("left_finger", 1.0)
    assert arm.targets == pytest.approx({"waist": 0.1, "shoulder": 0.2, "gripper": 1.0})
    assert len(arm.errors) == 3


def test_an_interbotix_arm_without_torque_does_not_move():
    arm = XSeries(group="arm", joints=("waist",), torque=False)
    arm.receive_group("arm", [0.1])
    assert arm.targets == {}


def test_a_target_that_is_too_fast_is_ignored():
    check = SpeedCheck(max_speed=np.array([3.0]))
    assert check.accepted([0.0], 0.002) is not None
    assert check.accepted([0.005], 0.002) is not None
    assert check.accepted([0.1], 0.002) is None
    assert check.ignored == 1
