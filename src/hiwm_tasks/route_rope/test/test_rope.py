"""The rope's judge, the operator's eyes, and the hands that recover from failures."""

import numpy as np
import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.measured import MeasuredAction
from hiwm_core.robot_config import load_robot
from hiwm_core.task_plugin import FAILURE_DATA, ROBOT_DATA
from hiwm_core.tasks import load_task
from hiwm_robot.standin_robot import StandinRobot
from hiwm_route_rope.behaviours import sighting
from hiwm_route_rope.names import clips_of, rope_of, score
from hiwm_route_rope.operator_control import lies_in
from hiwm_route_rope.router import Router, Sighting
from hiwm_route_rope.shape import holds
from hiwm_route_rope.vision import clip_masks, look, rope_mask
from hiwm_test_support.empty_hands import farthest_carry_of_nothing
from hiwm_yam_pair.kinematics import tool_down

TASK = load_task("route_rope")
EMBODIMENT = load_embodiment(TASK.embodiment)
CLIP = np.array([0.4, 0.06, 0.1])


def straight(x_m: float, height_m: float) -> np.ndarray:
    """Return a rope along y through a place x, [N, 3]."""
    y = np.linspace(-0.2, 0.2, 23)
    return np.stack([np.full(23, x_m), y, np.full(23, height_m)], axis=1)


def test_a_clip_holds_a_rope_between_its_walls_only() -> None:
    assert holds(straight(0.4, 0.006), CLIP)
    assert not holds(straight(0.4, 0.035), CLIP)  # on top of it
    assert not holds(straight(0.42, 0.006), CLIP)  # beside it
    assert not holds(straight(0.4, 0.006)[:8], CLIP)  # too short to reach it


def test_seen_from_above_a_rope_in_a_clip_runs_straight_through() -> None:
    rope = straight(0.4, 0.0)[:, :2]
    assert lies_in(rope, CLIP)
    assert not lies_in(rope + (0.012, 0.0), CLIP)
    crooked = rope.copy()
    crooked[:, 0] += 2.0 * (crooked[:, 1] - 0.06)
    assert not lies_in(crooked, CLIP)


def test_each_clip_is_half_of_the_score() -> None:
    rope, clips = straight(0.4, 0.0), np.array([[0.4, 0.06, 0.0], [0.4, -0.06, 0.0]])
    assert score(rope, clips, np.array([True, True])) == 1.0
    half = score(rope, clips, np.array([True, False]))
    assert 0.5 < half < 0.75
    assert score(rope + 0.1, clips, np.array([False, False])) < half - 0.3


def test_a_hand_takes_the_rope_clear_of_the_clips_and_where_it_is_seen() -> None:
    """Beside an empty clip its walls are in the way; an end under an arm may bend."""
    y = np.linspace(-0.26, 0.14, 80)
    line = np.stack([np.full(80, 0.37), y], axis=1)
    clips = np.array([[0.38, 0.05, 0.0], [0.38, -0.05, 0.0]])
    measured = np.array([0.37, 0.043, 0.1, 0.0, 0.55, 0.3, -0.18, 0.1, 0.0, 0.55])

    def step(**known: object) -> float:
        """Return how far the left hand goes along the rope; it is where it would take it."""
        seen = Sighting(rope=line, clips=clips, **{"routed": (False, False), **known})
        return float((Router(np.array(EMBODIMENT.home)).targets(seen, measured) - measured)[1])

    assert abs(step()) > 0.005
    clips[0, 0] = 0.43
    assert abs(step()) < 0.001
    assert step(guessed_m=(0.0, 0.16)) < -0.01  # back to where the rope is seen


def test_a_clip_that_an_arm_hides_is_where_clips_are_on_average(robot: StandinRobot) -> None:
    robot.place(TASK.sample_start(np.random.default_rng(4)), 0)
    picture, hands = robot.images["top"], robot.measured
    operator = TASK.stand_in().operator(EMBODIMENT)
    rows, columns = np.nonzero(clip_masks(picture)[0])
    part = np.s_[rows.min() - 5:rows.max() + 6, columns.min() - 5:columns.max() + 6]
    covered, bare = picture.copy(), picture.copy()
    covered[part] = (40, 42, 50)
    bare[part] = np.median(picture, axis=(0, 1))
    assert operator.look({"top": covered}, hands, jumped=True).visible
    assert not operator.look({"top": bare}, hands, jumped=True).visible


@pytest.fixture
def robot():
    made = StandinRobot(TASK, EMBODIMENT, render_size=128)
    yield made
    made.close()


def test_the_picture_shows_rope_and_clips_within_millimetres(robot: StandinRobot) -> None:
    for seed in range(4):  # of other light, too
        robot.place(TASK.sample_start(np.random.default_rng(seed)), seed)
        truth, seen = robot.scene.truth, look(robot.images["top"])
        assert seen.rope is not None and seen.clips is not None
        away = [np.linalg.norm(seen.rope - point, axis=1).min() for point in rope_of(truth)[:, :2]]
        assert max(away) < 0.008
        np.testing.assert_allclose(seen.clips[:, :2], clips_of(truth)[:, :2], atol=0.004)
        assert seen.seen_share > 0.93


def test_a_warning_of_the_physics_is_a_failed_episode(robot: StandinRobot) -> None:
    truth = {**robot.scene.truth, "left_clip_holds": 1.0, "right_clip_holds": 1.0}
    assert TASK.stand_in().progress(truth) == 1.0
    assert TASK.stand_in().progress({**truth, "physics_warnings": 1.0}) == 0.0


def test_starts_repeat_in_every_bit(robot: StandinRobot) -> None:
    start, ends = TASK.sample_start(np.random.default_rng(9)), []
    for _ in range(2):
        robot.place(start, 0)
        ends.append((rope_of(robot.scene.truth).tobytes(), robot.images["top"].tobytes()))
        robot.take(robot.measured + 0.01)
        robot.advance()
    assert ends[0] == ends[1]


def test_the_operator_recovers_a_rope_that_a_weak_hand_let_slip(robot: StandinRobot) -> None:
    plugin = TASK.stand_in()
    weak = plugin.behaviour(FAILURE_DATA, EMBODIMENT, 100)
    robot.place(weak.start(), 0)
    for _ in range(60):
        robot.take(weak.targets(robot.scene.truth, robot.measured))
        robot.advance()
    assert plugin.progress(robot.scene.truth) < 1.0
    operator = plugin.operator(EMBODIMENT)
    correction = operator.correction(0, 0.0)
    for _ in range(TASK.horizon_steps):
        sight = operator.look(robot.images, robot.measured, jumped=False)
        robot.take(correction.targets(sight, robot.measured))
        robot.advance()
        if plugin.progress(robot.scene.truth) >= 1.0:
            break
    assert plugin.progress(robot.scene.truth) == 1.0


def test_hands_of_a_weak_demonstrator_that_missed_carry_on(robot: StandinRobot) -> None:
    def holds(side: int) -> bool:
        return bool(robot.measured[5 * side + 4] > 0.05)

    drawn = (TASK.stand_in().behaviour(FAILURE_DATA, EMBODIMENT, seed) for seed in range(30))
    carrying = [weak for weak in drawn if weak.empty is not None][:3]
    found = [farthest_carry_of_nothing(robot, weak, holds, 90) for weak in carrying]
    assert max(found) > 0.1, found  # an empty hand went all the way


def test_the_hands_are_a_function_of_what_is_seen(robot: StandinRobot) -> None:
    robot.place(TASK.sample_start(np.random.default_rng(1)), 0)
    truth = robot.scene.truth
    seen = Sighting(
        rope=rope_of(truth)[:, :2], clips=clips_of(truth), routed=(False, False)
    )
    used, fresh = (Router(np.array(EMBODIMENT.home)) for _ in range(2))
    for shift in (0.0, 0.02, -0.03):
        used.targets(seen, robot.measured + shift)
    np.testing.assert_array_equal(
        used.targets(seen, robot.measured), fresh.targets(seen, robot.measured)
    )


def test_the_joint_embodiment_solves_the_same_task() -> None:
    """The same hands, through joint trajectory controllers."""
    joints = load_embodiment("yam_pair")
    robot = StandinRobot(TASK, joints, load_robot("yam_pair_joints"), render_size=16)
    tips, router = MeasuredAction(EMBODIMENT), Router(np.array(EMBODIMENT.home))
    robot.place(TASK.sample_start(np.random.default_rng(3)), 0)
    for _ in range(TASK.horizon_steps):
        truth = robot.scene.truth
        positions = dict(zip(robot.joint_names, robot.scene.joint_positions, strict=True))
        goal = np.clip(
            router.targets(sighting(truth), tips.array(positions)), EMBODIMENT.lower,
            EMBODIMENT.upper,
        )
        assert robot.take(np.concatenate([
            [*tool_down(side, *row[:4]), row[4]]
            for side, row in zip(("left", "right"), goal.reshape(2, 5), strict=True)
        ])) == ""
        robot.advance()
        if TASK.stand_in().progress(robot.scene.truth) >= 1.0:
            break
    assert TASK.stand_in().progress(robot.scene.truth) == 1.0
    robot.close()


def test_recordings_of_the_robot_only_show_neither_rope_nor_clips() -> None:
    plugin = TASK.stand_in()
    only = plugin.behaviour(ROBOT_DATA, EMBODIMENT, 5)
    robot = StandinRobot(TASK, EMBODIMENT, render_size=128)
    try:
        robot.place(only.start(), 0)
        for _ in range(40):
            robot.take(only.targets(robot.scene.truth, robot.measured))
            robot.advance()
            picture = robot.images["top"][None]
            assert rope_mask(picture).sum() == 0
            assert all(mask.sum() < 3 for mask in clip_masks(picture))
        assert plugin.progress(robot.scene.truth) < 0.01
    finally:
        robot.close()
    near = {**TASK.sample_start(np.random.default_rng(1)), "rope_x_m": 0.7}
    assert "the rope at" in TASK.start_problem(near)
