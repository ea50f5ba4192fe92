"""Rollouts from recordings: which starts, which actions, and many as if each were alone."""

import numpy as np
import pytest
import torch

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.tasks import load_task
from hiwm_learning.world_models.evaluation.rollouts import (
    LEAST_STEPS,
    WORTH_STEPS,
    Start,
    exchanged_actions,
    held_out_starts,
    imagine,
    recorded_actions,
    still_actions,
)
from hiwm_learning.world_models.layered.model import WorldModel
from hiwm_learning.world_models.layered.simulator import Simulator
from hiwm_learning.world_models.recordings import Recording
from hiwm_test_support.layered_worlds import drawn_recording, drawn_world_model

EMBODIMENT = load_embodiment(load_task(default_task()).embodiment)


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return drawn_world_model(EMBODIMENT, seed=7)


@pytest.fixture(scope="module")
def recordings(model: WorldModel) -> list[Recording]:
    return [
        drawn_recording(model, "a", 80, seed=1), drawn_recording(model, "b", 66, seed=2),
        drawn_recording(model, "c", 90, seed=3, held_out=False),
        drawn_recording(model, "d", LEAST_STEPS, seed=4),
    ]


def test_starts_are_held_out_and_have_far_to_go(recordings: list[Recording]) -> None:
    starts = held_out_starts(recordings, 100, seed=0)
    assert {s.recording.name for s in starts} == {"a", "b"}
    assert all(s.ahead >= LEAST_STEPS and s.step >= 1 for s in starts)
    assert len({(s.recording.name, s.step) for s in starts}) == len(starts)
    again = held_out_starts(recordings, 3, seed=0)
    assert [s.step for s in again] == [s.step for s in starts[:3]]


def test_where_all_recordings_are_short_half_of_the_longest_is_enough(model: WorldModel) -> None:
    short = [drawn_recording(model, "a", 37, seed=1), drawn_recording(model, "b", 21, seed=2)]
    starts = held_out_starts(short, 100, seed=0)
    assert {(s.recording.name, s.step) for s in starts} == {("a", 1), ("a", 13), ("b", 1)}
    assert not held_out_starts([drawn_recording(model, "c", 2 * WORTH_STEPS, seed=3)], 9, seed=0)


def test_a_recording_that_ends_holds_its_last_action(recordings: list[Recording]) -> None:
    first, second = recordings[0], recordings[1]
    starts = [Start(recording=first, step=4), Start(recording=second, step=10)]
    actions = torch.from_numpy(recorded_actions(starts, 70)).float()
    assert torch.equal(actions[0], first.actions[4:74])
    assert torch.equal(actions[1, :55], second.actions[10:65])
    assert torch.equal(actions[1, 55:], second.actions[64].expand(15, -1))


def test_many_rollouts_are_those_that_single_ones_are(
    model: WorldModel, recordings: list[Recording]
) -> None:
    simulator = Simulator(model, EMBODIMENT)
    starts = held_out_starts(recordings, 4, seed=0)
    actions = recorded_actions(starts, 15)
    together = list(imagine(simulator, starts, actions, range(16)))
    assert [one.frames.shape for one in together] == [(16, 96, 96, 3)] * len(starts)
    for n, start in enumerate(starts):
        alone = next(imagine(simulator, [start], actions[n : n + 1], (0, 9, 15)))
        assert np.allclose(alone.trust, together[n].trust[[0, 9, 15]], atol=1e-4)
        apart = alone.frames.astype(int) - together[n].frames[[0, 9, 15]]
        assert np.abs(apart).max() <= 1
        assert together[n].trust[0] == 1.0


def test_still_arms_are_told_where_they_are(recordings: list[Recording]) -> None:
    start = Start(recording=recordings[0], step=7)
    actions = still_actions([start], 9)
    assert actions.shape == (1, 9, 4)
    assert np.array_equal(actions[0, 8], recordings[0].proprioception[7].double().numpy())


def test_exchanged_actions_are_another_recordings_motions(recordings: list[Recording]) -> None:
    starts = [Start(recording=recordings[k], step=2) for k in (0, 0, 1)]
    actions = recorded_actions(starts, 10)
    present = np.stack([start.proprioception for start in starts])[:, None]
    moves, wanted = exchanged_actions(actions, starts, seed=0) - present, actions - present
    # Only one recording is another: b for the two of a, one of a for b.
    assert np.allclose(moves[0], wanted[2])
    assert np.allclose(moves[1], wanted[2])
    assert np.allclose(moves[2], wanted[0])
