"""Policies of tools that turn: 6D rotations and yaws in training, in plans and after the limits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiwm_core.action_deltas import ActionDeltas
from hiwm_core.limits import Limiter
from hiwm_core.measured import MeasuredFromProprioception
from hiwm_core.provenance import Provenance
from hiwm_core.rotations import matrix_from_6d, sixd_from_matrix, wrapped
from hiwm_learning.datasets import EpisodeInfo, Episodes, demonstration_weights, load_episodes
from hiwm_learning.datasets.episodes import EpisodeWriter
from hiwm_learning.policies.backbones import BACKBONES
from hiwm_learning.policies.chunk_policy import ABSOLUTE, action_anchors, free_angles
from hiwm_learning.policies.planning import load_planner
from hiwm_learning.policies.trainer import PolicyTrainer
from hiwm_test_support.tool_pair import tool_pair

ROBOT = tool_pair()
NAMES = [entry.name for entry in ROBOT.actions]
TURN, YAW = ROBOT.group("left").rotation_slice, NAMES.index("right_yaw")
PLACES = MeasuredFromProprioception(ROBOT).columns
LENGTH = 8
_SMALL: dict[str, dict[str, Any]] = {
    "diffusion": {"encoder_width": 8, "keypoints": 4, "features": 16, "denoiser_width": 16},
    "act": {"encoder_width": 8, "features": 16, "heads": 2, "feedforward": 16},
}


def turning_episodes(path: Path, count: int) -> Episodes:
    """Write episodes in which both tools turn; the yaw crosses from pi to -pi in each."""
    deltas, rng = ActionDeltas(ROBOT), np.random.default_rng(0)
    writer = EpisodeWriter(path, ROBOT, tuple(str(name) for name in Provenance))
    for number in range(count):
        here = np.array(ROBOT.home)
        here[YAW] = 3.0
        seen, actions = [], []
        for _ in range(LENGTH):
            step = rng.normal(0.0, 0.01, ROBOT.action_dim)
            step[TURN] = [*rng.normal(0.0, 0.1, 3), 0.0, 0.0, 0.0]
            step[YAW] = 0.1
            row = np.empty(ROBOT.proprio_dim)
            row[PLACES] = here
            seen.append(row)
            here = deltas.moved(here, step)
            actions.append(here)
        actions[-1] = np.full(ROBOT.action_dim, np.nan)
        blank = np.full(LENGTH, np.nan)
        writer.add(
            EpisodeInfo(
                bag=f"bag{number}", session_id="s", episode_id=f"ep{number}", branch_id="b",
                parent_branch_id="", fork_step=-1, world="hardware", stand_in=False, task="turn",
                task_hash="0",
            ),
            {
                **{f"images/{camera.name}": rng.integers(
                    0, 256, (LENGTH, camera.height, camera.width, 3), dtype=np.uint8
                ) for camera in ROBOT.cameras},
                "proprio": np.array(seen), "actions": np.array(actions),
                "source": np.full(LENGTH, 3), "provenance": np.zeros(LENGTH),
                "steps": np.arange(LENGTH), "trust": np.ones(LENGTH), "progress": blank,
                "success": blank,
            },
        )
    writer.close({})
    return load_episodes(path)


def test_positions_and_yaws_are_offsets_and_6d_rotations_are_not() -> None:
    anchors = np.array(action_anchors(ROBOT))
    assert (anchors[TURN] == ABSOLUTE).all()
    others = [i for i in range(ROBOT.action_dim) if i not in range(TURN.start, TURN.stop)]
    np.testing.assert_array_equal(anchors[others], PLACES[others])
    assert free_angles(ROBOT) == (YAW,)


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_a_policy_of_turning_tools_trains_and_plans(backbone: str, tmp_path: Path) -> None:
    episodes = turning_episodes(tmp_path / "set.zarr", 3)
    config = BACKBONES[backbone].config.for_embodiment(
        ROBOT, horizon=4, execute_horizon=2, **_SMALL[backbone]
    )
    assert type(config).from_dict(config.to_dict(), "test") == config
    output = tmp_path / "turn.safetensors"
    trainer = PolicyTrainer(
        episodes, config, weights=demonstration_weights(episodes), data={}, seed=0, output=output,
        name="turn",
    )
    # Each action of the chunk turns 0.1 rad further; the jump from pi to -pi is no part of it.
    centres = trainer.policy.offset_centre[:, YAW].numpy()
    np.testing.assert_allclose(centres, 0.1 * np.arange(1, 5), atol=0.12)
    assert trainer.policy.offset_scale[:, YAW].max() < 0.2
    for step in range(2):
        assert np.isfinite(trainer.train_step(step, 0.5)["loss"])
    trainer.export(2, 0.0, {})

    seen = np.empty((2, ROBOT.proprio_dim), np.float32)
    here = np.array(ROBOT.home)
    here[YAW] = 3.12
    seen[:, PLACES] = here
    images = {
        camera.name: np.zeros((2, camera.height, camera.width, 3), np.uint8)
        for camera in ROBOT.cameras
    }
    plan = load_planner(output).plan(images, seen, (1, 2, 3))
    assert plan.shape == (4, ROBOT.action_dim)
    assert max(abs(wrapped(yaw - 3.12)) for yaw in plan[:, YAW]) < 1.0
    # What is no rotation becomes one at the last hop, and goes no faster than the limits.
    limiter = Limiter(ROBOT)
    state = limiter.initial_state()
    for action in plan:
        result = limiter.limit(action, here, state)
        assert not result.held, result.reason
        rotation = result.action[TURN]
        np.testing.assert_allclose(sixd_from_matrix(matrix_from_6d(rotation)), rotation, atol=1e-9)
        assert -np.pi <= result.action[YAW] <= np.pi
        way = ActionDeltas(ROBOT).between(here, result.action)
        assert np.linalg.norm(way[TURN][:3]) <= 0.5 + 1e-9 and abs(way[YAW]) <= 0.5 + 1e-9
        state = result.state
