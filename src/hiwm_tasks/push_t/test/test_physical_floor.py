"""The physical floor: repeatable replays, offsets of starts, pairs counted per step."""

import os

os.environ.setdefault("MUJOCO_GL", "egl")

import numpy as np
import pytest

from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import BagError
from hiwm_core.tasks import load_task
from hiwm_push_t.goal import goal_of
from hiwm_push_t.physical_floor import Replay, moved_start, read_replays, run, summarise
from hiwm_push_t.scene import StandinScene

TASK = load_task("push_t")
GOAL = goal_of(TASK)
EMBODIMENT = load_embodiment("planar_bimanual")


def replay(steps: int) -> Replay:
    """The left arm drives up into the T's bar, 10 mm per step."""
    arms = np.array([-0.04, -0.06, 0.12, -0.12])
    actions = arms + np.arange(1, steps + 1)[:, None] * np.array([0.0, 0.01, 0.0, 0.0])
    poses = np.tile([0.0, 0.05, 0.0], (steps + 1, 1))
    return Replay(object_poses=poses, arms=arms, actions=actions)


def test_a_replay_repeats_and_moves_the_t() -> None:
    scene, pushed = StandinScene(GOAL, EMBODIMENT), replay(12)
    first, second = (run(scene, pushed, pushed.object_poses[0], 0.1) for _ in range(2))
    assert first.shape == (13, 3)
    assert np.array_equal(first, second)
    assert np.allclose(first[0], [0.0, 0.05, 0.0], atol=1e-4)
    assert first[-1, 1] - first[0, 1] > 0.004


def test_a_start_is_moved_by_1_mm_and_0_7_degrees() -> None:
    rng, pose = np.random.default_rng(0), np.array([0.1, -0.05, 1.0])
    for _ in range(20):
        gap = moved_start(pose, rng) - pose
        assert np.linalg.norm(gap[:2]) == pytest.approx(0.001)
        assert abs(np.degrees(gap[2])) == pytest.approx(0.7)


def test_a_step_counts_the_moved_pairs_that_are_long_enough() -> None:
    ahead = np.zeros((12, 3))
    ahead[:, 0] = 0.002 * np.arange(12)
    still, short = np.zeros((12, 3)), ahead[:6]
    off = np.array([0.007, 0.0, np.radians(3)])
    table = summarise([(p, p + off) for p in (ahead, still, short)], size_m=0.14)
    assert (table["1"]["n"], table["5"]["n"], table["10"]["n"]) == (3, 2, 1)
    assert "15" not in table
    assert table["10"]["place_median_T"] == pytest.approx(0.05)
    assert table["10"]["angle_median_deg"] == pytest.approx(3)
    assert table["10"]["bad_pose_share"] == 0.0


def test_folders_without_recordings_are_refused(tmp_path) -> None:
    with pytest.raises(BagError, match="collect_data"):
        read_replays([tmp_path], EMBODIMENT)
