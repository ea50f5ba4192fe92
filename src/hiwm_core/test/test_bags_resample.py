"""Resampling: interpolated targets and joints, nearest images, nothing across a gap."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hiwm_core.bags import Labels, Lineage, Segment
from hiwm_core.bags.resample import resampled, segment_period
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import BagError
from hiwm_core.measured import measured_columns
from hiwm_core.rotations import matrix_from_6d, matrix_from_vector, sixd_from_matrix

EMBODIMENT = load_embodiment("planar_bimanual")


def segment(stamps_s: np.ndarray, *, world: str = "hardware", first_step: int = 7) -> Segment:
    """Return a segment whose joints and targets follow sin(t), the target one tick ahead."""
    count = len(stamps_s)
    actions = np.full((count, 4), np.nan, np.float32)
    actions[:-1] = np.sin(stamps_s[1:])[:, None]
    images = np.zeros((count, 96, 96, 3), np.uint8) + np.arange(count, dtype=np.uint8)[
        :, None, None, None
    ]
    nothing = np.full(count, np.nan, np.float32)
    return Segment(
        path=Path("bag"), lineage=Lineage(world=world), embodiment=EMBODIMENT, epoch=1,
        stamps_ns=(5e9 + stamps_s * 1e9).astype(np.int64),
        steps=np.arange(first_step, first_step + count), observations={"top": images},
        state_ids=[f"s{i}" for i in range(count)],
        proprio=np.sin(stamps_s)[:, None].repeat(4, 1).astype(np.float32),
        measured=np.sin(stamps_s)[:, None].repeat(4, 1).astype(np.float32), actions=actions,
        source=np.where(np.arange(count) < count - 1, 1, 0).astype(np.uint8),
        device=["policy"] * (count - 1) + [""], applied_source=np.ones(count, np.uint8),
        trust=np.ones(count, np.float32), progress=nothing, success=nothing,
        labels=Labels(
            names=("object_x_m", "coverage"),
            values=np.arange(count)[:, None] * np.array([1.0, 0.01]),
        ),
    )


def test_half_the_rate_keeps_the_motion_and_every_other_tick() -> None:
    fast = segment(0.1 * np.arange(41))
    slow = resampled(fast, 0.2)
    assert slow.length == 21
    at = 0.2 * np.arange(21)
    np.testing.assert_allclose(slow.proprio[:, 0], np.sin(at), atol=1e-6)
    # The target of a step is the position at its end.
    np.testing.assert_allclose(slow.actions[:-1, 0], np.sin(at[1:]), atol=1e-6)
    assert np.isnan(slow.actions[-1]).all() and (slow.source[-1], slow.device[-1]) == (0, "")
    np.testing.assert_array_equal(slow.observations["top"][:, 0, 0, 0], np.arange(0, 41, 2))
    np.testing.assert_array_equal(slow.steps, 7 + np.arange(0, 41, 2))
    assert slow.state_ids[3] == "s6" and slow.labels is not None
    assert slow.labels.column("coverage")[3] == 0.06
    assert segment_period(slow).seconds == 0.2


def test_a_robot_off_its_nominal_rate_is_resampled_to_it() -> None:
    rng = np.random.default_rng(1)
    stamps = np.cumsum(0.11 + rng.uniform(-0.01, 0.01, 80))
    off = segment(stamps)
    assert segment_period(off).seconds == pytest.approx(0.11, abs=0.003)
    found = resampled(off, 0.1)
    at = stamps[0] + 0.1 * np.arange(found.length)
    np.testing.assert_allclose(found.proprio[:, 0], np.sin(at), atol=2e-3)
    # Until the first recorded target is due, it is used as the target.
    np.testing.assert_allclose(found.actions[1:-1, 0], np.sin(at[2:]), atol=2e-3)
    assert found.actions[0, 0] == off.actions[0, 0]
    seen = found.observations["top"][:, 0, 0, 0]
    assert (np.abs(stamps[seen] - at) <= 0.061).all()
    assert segment_period(found).seconds == pytest.approx(0.1)


def test_in_imagination_a_step_is_a_period_whatever_the_clock_says() -> None:
    flat_out = segment(0.001 * np.arange(21), world="imagination")
    assert segment_period(flat_out).seconds == 0.1
    found = resampled(flat_out, 0.2)
    np.testing.assert_array_equal(found.observations["top"][:, 0, 0, 0], np.arange(0, 21, 2))
    assert segment_period(found).seconds == 0.2


def test_nothing_is_interpolated_across_a_pause_a_set_clock_or_an_unknown_action() -> None:
    stamps = 0.1 * np.arange(60)
    stamps[20:] += 3.0  # a pause
    stamps[40:] -= 3600.0  # the clock was set
    whole = segment(stamps)
    whole.actions[29] = np.nan
    found = resampled(whole, 0.2)
    seen = found.observations["top"][:, 0, 0, 0]
    ends = np.flatnonzero(np.isnan(found.actions).any(axis=1))
    # Runs 0-19, 20-29, 30-39, 40-59, each on its own grid.
    np.testing.assert_array_equal(seen[ends], [18, 28, 38, 58])
    np.testing.assert_array_equal(seen[np.r_[0, ends[:-1] + 1]], [0, 20, 30, 40])
    assert not np.isnan(found.proprio).any()


def test_frames_are_not_repeated() -> None:
    with pytest.raises(BagError, match="too few frames for 10 Hz") as caught:
        resampled(segment(0.2 * np.arange(30)), 0.1)
    assert "--resample-to 5" in str(caught.value)


def test_an_older_bag_has_its_embodiment_s_period() -> None:
    few = segment(0.1 * np.arange(5))
    assert few.lineage.period_s < 0 and segment_period(few).seconds == 0.1
    told = replace(few, lineage=replace(few.lineage, period_s=0.2))
    assert segment_period(told).seconds == 0.2


def test_measured_rotations_turn_about_one_axis() -> None:
    embodiment = load_embodiment("ur5e_tool")
    group = next(group for group in embodiment.groups if group.rotation == "6d")
    columns = measured_columns(embodiment)[group.rotation_slice]
    assert (columns >= 0).all(), "proprioception has the tip's rotation"
    angles = np.array([0.0, 1.0, 2.0])
    turns = np.stack([
        sixd_from_matrix(matrix_from_vector([0.0, 0.0, angle])) for angle in angles
    ]).astype(np.float32)
    one = segment(0.1 * np.arange(3))
    measured = np.zeros((3, embodiment.action_dim), np.float32)
    for other in embodiment.groups:
        if other.rotation == "6d":
            measured[:, other.rotation_slice] = turns
    proprio = np.zeros((3, len(embodiment.proprioception)), np.float32)
    proprio[:, columns] = turns
    image = np.zeros((3, 4, 4, 3), np.uint8)
    fine = resampled(replace(
        one, lineage=Lineage(world="imagination", period_s=0.1), embodiment=embodiment,
        measured=measured, proprio=proprio, actions=measured,
        observations={"top": image},
    ), 0.09)
    half = matrix_from_6d(fine.proprio[1, columns].astype(np.float64))
    assert np.allclose(half, matrix_from_vector([0.0, 0.0, 0.9]), atol=1e-6)
    assert np.allclose(fine.proprio[:, columns], fine.measured[:, group.rotation_slice])
