"""Which part of the data a world model is trained on."""

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_core.errors import ConfigError
from hiwm_learning.world_models.latent.subset import Subset, add_subset_options, subset_of

SEGMENTS = [("edge" if i % 3 == 0 else "demonstration", 20 + i) for i in range(60)]


@given(st.integers(90, 2000), st.integers(0, 5))
def test_a_smaller_number_of_frames_is_kept_within_its_limit(frames: int, seed: int) -> None:
    kept = Subset(frames=frames, shares={}, seed=seed).of(SEGMENTS)
    total = sum(SEGMENTS[i][1] for i in kept)
    assert total <= frames and kept == sorted(set(kept))
    # It stops only where the next one would not have fitted.
    assert len(kept) == len(SEGMENTS) or total > frames - max(n for _, n in SEGMENTS)
    assert set(kept) <= set(Subset(frames=frames + 300, shares={}, seed=seed).of(SEGMENTS))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_a_share_of_one_kind_leaves_the_others_whole(share: float) -> None:
    kept = Subset(frames=None, shares={"edge": share}, seed=0).of(SEGMENTS)
    kinds = [SEGMENTS[i][0] for i in kept]
    assert (kinds.count("edge"), kinds.count("demonstration")) == (round(20 * share), 40)


def test_larger_shares_contain_smaller_ones() -> None:
    sets = [
        set(Subset(frames=None, shares={"edge": share}, seed=3).of(SEGMENTS))
        for share in (0.0, 0.2, 0.5, 1.0)
    ]
    assert all(a < b for a, b in zip(sets, sets[1:], strict=False))


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="use demonstration, edge"):
        Subset(frames=None, shares={"edges": 0.5}, seed=0).of(SEGMENTS)
    with pytest.raises(ConfigError, match="no segment is left"):
        Subset(frames=5, shares={}, seed=0).of(SEGMENTS)


def test_options_ask_for_all_data_or_a_part(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    add_subset_options(parser)
    assert subset_of(parser.parse_args([])) is None
    part = subset_of(parser.parse_args(["--frames", "500", "--share", "edge=0.2"]))
    assert part == Subset(frames=500, shares={"edge": 0.2}, seed=0)
    with pytest.raises(SystemExit):
        parser.parse_args(["--share", "edge=2"])
    assert "KIND=SHARE" in capsys.readouterr().err
