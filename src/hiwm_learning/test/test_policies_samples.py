"""Samples are drawn by their weights, and equally at equal steps."""


import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hiwm_core.errors import BagError
from hiwm_learning.datasets import Episodes
from hiwm_learning.policies.samples import Samples, Sampling, split_samples
from hiwm_test_support.policies import LENGTH, dot_episodes, small_config

SIZE = 8


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Episodes:
    return dot_episodes(tmp_path_factory.mktemp("samples") / "set.zarr", 4)


def split(
    episodes: Episodes, weights: NDArray[np.float32], sampling: Sampling, seed: int = 0
) -> tuple[Samples, Samples]:
    return split_samples(
        episodes, weights, small_config("act"), sampling=sampling, seed=seed, size=SIZE
    )


def uneven(episodes: Episodes) -> NDArray[np.float32]:
    return np.random.default_rng(1).choice(
        np.array([0.0, 0.5, 1.0, 10.0], np.float32), len(episodes.actions)
    )


def test_weighted_samples_are_drawn_by_the_weights_of_their_first_actions(
    episodes: Episodes
) -> None:
    samples, _ = split(episodes, uneven(episodes), "weighted")
    first = split(episodes, uneven(episodes), "uniform")[0].batch(
        np.arange(len(samples)), torch.device("cpu")
    ).weights[:, 0].numpy()
    steps = 4000
    drawn = np.concatenate([samples.drawn(step) for step in range(steps)])
    expected = first / first.sum() * len(drawn)
    assert len(drawn) == steps * SIZE
    found = np.bincount(drawn, minlength=len(samples))
    assert (np.abs(found - expected) < 5.0 * np.sqrt(expected)).all()
    assert first.max() / first.min() == 20.0


def test_the_loss_does_not_weight_weighted_samples_again(episodes: Episodes) -> None:
    chosen = np.arange(5)
    device = torch.device("cpu")
    plain = split(episodes, uneven(episodes), "uniform")[0].batch(chosen, device).weights
    drawn = split(episodes, uneven(episodes), "weighted")[0].batch(chosen, device).weights
    assert len(plain.unique()) > 2
    torch.testing.assert_close(drawn, (plain > 0).float())


@pytest.mark.parametrize("sampling", ["uniform", "weighted"])
def test_a_step_s_samples_follow_from_seed_and_step(
    episodes: Episodes, sampling: Sampling
) -> None:
    weights = uneven(episodes)
    one, same = (split(episodes, weights, sampling)[0] for _ in range(2))
    forward = [one.drawn(step) for step in range(6)]
    backward = [same.drawn(step) for step in reversed(range(6))][::-1]
    np.testing.assert_array_equal(forward, backward)
    assert (forward[0] != forward[1]).any()
    other = split(episodes, weights, sampling, seed=1)[0]
    assert any((other.drawn(step) != forward[step]).any() for step in range(2))


def test_a_uniform_epoch_repeats_no_sample(episodes: Episodes) -> None:
    samples, _ = split(episodes, np.ones(len(episodes.actions), np.float32), "uniform")
    assert samples.steps_per_epoch == len(samples) // SIZE > 1
    seen = np.concatenate([samples.drawn(step) for step in range(samples.steps_per_epoch)])
    assert len(np.unique(seen)) == len(seen)


def test_held_out_episodes_are_not_trained_on(episodes: Episodes) -> None:
    train, held_out = split(episodes, np.ones(len(episodes.actions), np.float32), "uniform")
    assert (train.episodes, held_out.episodes) == (3, 1)
    assert len(train) + len(held_out) == 4 * (LENGTH - 1)  # the last action is unknown
    places = {tuple(place) for place in train.states()[0]}
    assert not places & {tuple(place) for place in held_out.states()[0]}


def test_augmentation_shifts_actions_with_proprioception(episodes: Episodes) -> None:
    samples, _ = split(episodes, np.ones(len(episodes.actions), np.float32), "uniform")
    chosen, device = np.arange(6), torch.device("cpu")
    plain = samples.batch(chosen, device)
    varied = samples.batch(chosen, device, np.random.default_rng(0))
    moved = (varied.proprio - plain.proprio)[:, -1]
    assert moved.abs().max() > 0.0
    torch.testing.assert_close(
        (varied.actions - plain.actions)[..., :2], moved[:, None].expand(-1, 4, -1)
    )
    torch.testing.assert_close(varied.actions[..., 2], plain.actions[..., 2])


def test_a_set_without_weights_above_zero_is_refused(episodes: Episodes) -> None:
    with pytest.raises(BagError, match="demonstration"):
        split(episodes, np.zeros(len(episodes.actions), np.float32), "uniform")


@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_invalid_weights_are_refused(episodes: Episodes, value: float) -> None:
    weights = np.full(len(episodes.actions), value, np.float32)
    with pytest.raises(ValueError, match="0 or above"):
        split(episodes, weights, "weighted")
    with pytest.raises(ValueError, match="one number per frame"):
        split(episodes, np.ones(3, np.float32), "weighted")
