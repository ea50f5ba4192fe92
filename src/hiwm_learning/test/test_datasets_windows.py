"""Training samples stay within one episode, and weights follow provenance."""

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.branch_records import Label
from hiwm_core.embodiment import load_embodiment
from hiwm_core.provenance import Provenance
from hiwm_learning.datasets import EpisodeInfo, Episodes, chunk_windows, demonstration_weights

NAMES = tuple(str(name) for name in Provenance)
EMBODIMENT = load_embodiment("planar_bimanual")
INFO = EpisodeInfo(
    bag="b", session_id="s", episode_id="e", branch_id="e-b000", parent_branch_id="",
    fork_step=-1, world="hardware", stand_in=True, task="toy_task", task_hash="0",
)


def episodes(lengths: list[int], provenance: list[int]) -> Episodes:
    """Return episodes whose actions are the frame numbers; the last of each is unknown."""
    count = sum(lengths)
    ends = np.cumsum(lengths)
    actions = np.repeat(np.arange(count, dtype=np.float32)[:, None], 4, axis=1)
    actions[ends - 1] = np.nan
    nothing = np.full(count, np.nan)
    columns: dict[str, Any] = {
        "trust": np.ones(count, np.float32), "progress": nothing.astype(np.float32),
        "success": nothing.astype(np.float32),
    }
    return Episodes(
        embodiment=EMBODIMENT, infos=(INFO,) * len(lengths), ends=ends, images={},
        proprio=np.zeros((count, 4), np.float32), actions=actions,
        source=np.zeros(count, np.uint8), provenance=np.array(provenance, np.uint8),
        provenance_names=NAMES, steps=np.arange(count), **columns,
    )


@st.composite
def some_episodes(draw: st.DrawFn) -> Episodes:
    lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=5))
    codes = st.integers(0, len(NAMES) - 1)
    return episodes(
        lengths, draw(st.lists(codes, min_size=sum(lengths), max_size=sum(lengths)))
    )


@settings(deadline=None)
@given(some_episodes(), st.integers(1, 4), st.integers(1, 6))
def test_samples_stay_in_their_episode_and_start_at_weighted_actions(
    data: Episodes, seen: int, horizon: int
) -> None:
    known = np.isfinite(data.actions).all(axis=1)
    weights = (np.array([1.0, 0.5, 0.5, 0, 0, 0])[data.provenance] * known).astype(np.float32)
    windows = chunk_windows(data, weights, seen, horizon)
    every = np.arange(len(windows))
    assert list(windows.newest) == list(np.flatnonzero(weights > 0))
    for observed, acted, weight, number in zip(
        windows.observations(every), windows.actions(every), windows.weights(every),
        windows.episodes, strict=True,
    ):
        owner = data.episode_of
        assert set(owner[observed]) == set(owner[acted]) == {number}
        assert acted[0] == observed[-1]
        assert np.isfinite(data.actions[acted]).all()
        assert set(np.diff(observed)) <= {0, 1}
        assert set(np.diff(acted)) <= {0, 1}
        np.testing.assert_array_equal(weight, weights[acted])


def test_the_ends_of_an_episode_are_repeated() -> None:
    data = episodes([4, 5], [0] * 9)
    windows = chunk_windows(data, demonstration_weights(data), 2, 3)
    observations, actions = (
        read(np.arange(len(windows))) for read in (windows.observations, windows.actions)
    )
    np.testing.assert_array_equal(observations[0], [0, 0])
    np.testing.assert_array_equal(actions[0], [0, 1, 2])
    np.testing.assert_array_equal(actions[2], [2, 2, 2])  # frame 3's action is unknown
    np.testing.assert_array_equal(observations[3], [4, 4])


def test_a_base_policy_learns_only_from_demonstrations() -> None:
    data = episodes([7], [0, 1, 2, 3, 4, 5, 0])
    np.testing.assert_array_equal(demonstration_weights(data), [1, 0, 0, 0, 0, 0, 0])


def test_demonstrations_labelled_a_failure_have_no_weight() -> None:
    data = episodes([3, 3], [0] * 6)  # the last action of each is unknown
    infos = (replace(INFO, label=Label.FAILURE), replace(INFO, label=Label.SUCCESS))
    labelled = replace(data, infos=infos)
    np.testing.assert_array_equal(demonstration_weights(labelled), [0, 0, 0, 1, 1, 0])


def test_the_first_episodes_are_those_with_demonstrated_frames() -> None:
    data = episodes([2, 3, 3, 2], [1, 1, 0, 0, 0, 0, 1, 0, 0, 0])
    np.testing.assert_array_equal(demonstration_weights(data), [0, 0, 1, 1, 0, 1, 0, 0, 1, 0])
    np.testing.assert_array_equal(demonstration_weights(data, 2), [0, 0, 1, 1, 0, 1, 0, 0, 0, 0])
    assert demonstration_weights(data, 9).sum() == 4

