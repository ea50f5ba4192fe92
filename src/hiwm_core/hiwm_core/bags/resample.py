"""A recorded segment at another control period.

Actions are absolute targets, so they are interpolated linearly, and rotations turn about one axis;
so are measured positions and proprioception. Each image is the nearest recorded one in time.
Everything that names or rates a tick comes from the last tick before it. Nothing is interpolated
across a gap: a pause, a clock that was set, or an unknown action splits the segment into runs, each
with its own grid. The last action of a run is unknown, as in any segment. A segment never crosses a
rollback; the segments of a path through the tree share one grid. Tested by test_bags_resample.py.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.action_deltas import ActionDeltas
from hiwm_core.bags.reader import Segment
from hiwm_core.control_period import UNKNOWN, ControlPeriod, measured_period
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import BagError
from hiwm_core.measured import measured_columns

# An interval longer than this many periods is a pause.
_PAUSE = 2.5
# Frames cannot be interpolated: a finer grid would repeat every other one.
_FINEST = 1.25

# Fields of a segment with one value a tick, beside the images.
_ARRAYS = (
    "stamps_ns", "steps", "proprio", "measured", "actions", "source", "applied_source", "trust",
    "progress", "success",
)
_LISTS = ("state_ids", "device")

Array = NDArray[np.float64]


def segment_period(segment: Segment) -> ControlPeriod:
    """Return the control period of a segment, measured from its ticks on hardware.

    For a bag that predates the recorded period, the embodiment's period is the nominal one.
    """
    nominal = segment.lineage.period_s
    if nominal <= 0.0:
        nominal = 1.0 / segment.embodiment.rate_hz
    if segment.lineage.world != "hardware":
        return ControlPeriod(nominal_s=nominal)
    return measured_period(nominal, segment.stamps_ns, segment.steps)


def resampled(segment: Segment, period_s: float) -> Segment:
    """Return a segment whose ticks lie `period_s` apart.

    `steps` and `state_ids` are those of the recorded tick before each new one, so that the
    session's tree still refers to them.

    Args:
        segment: the recorded segment.
        period_s: the new control period, s.

    Raises:
        BagError: the recording is too slow for this period.
    """
    recorded = segment_period(segment)
    if recorded.seconds > _FINEST * period_s:
        raise BagError(
            f"recorded at {recorded}, too few frames for {1.0 / period_s:.3g} Hz",
            where=str(segment.path),
            remedy=f"--resample-to {1.0 / recorded.seconds:.3g} or less",
        )
    times = _times(segment, recorded)
    runs = _runs(segment, times, recorded.seconds)
    grids = [_grid(times[run], period_s) for run in runs]
    at = np.concatenate(grids)
    before = np.concatenate([
        run[np.searchsorted(times[run], grid + 1e-6, side="right") - 1]
        for run, grid in zip(runs, grids, strict=True)
    ])
    nearest = np.concatenate([
        run[_nearest(times[run], grid)] for run, grid in zip(runs, grids, strict=True)
    ])
    actions = np.concatenate([
        _actions(segment, run, times[run], grid)
        for run, grid in zip(runs, grids, strict=True)
    ])
    proprio = np.stack(
        [np.interp(at, times, column) for column in segment.proprio.T.astype(np.float64)], axis=1
    )
    measured = ActionDeltas(segment.embodiment).interpolated(at, times, segment.measured)
    # An entry that an action is measured by turns as the action does: an angle passes pi, and six
    # numbers stay a rotation.
    columns = measured_columns(segment.embodiment)
    turning = np.flatnonzero(_turning(segment.embodiment) & (columns >= 0))
    proprio[:, columns[turning]] = measured[:, turning]
    known = ~np.isnan(actions).any(axis=1)
    labels = segment.labels
    return replace(
        segment,
        lineage=replace(
            segment.lineage, period_s=period_s, measured_period_s=UNKNOWN,
            measured_period_p5_s=UNKNOWN, measured_period_p95_s=UNKNOWN,
        ),
        stamps_ns=segment.stamps_ns[0] + np.round(at * 1e9).astype(np.int64),
        steps=segment.steps[before], state_ids=[segment.state_ids[i] for i in before],
        observations={name: images[nearest] for name, images in segment.observations.items()},
        proprio=proprio.astype(np.float32), measured=measured.astype(np.float32),
        actions=actions.astype(np.float32),
        source=np.where(known, segment.source[before], 0).astype(np.uint8),
        device=[segment.device[i] if there else "" for i, there in zip(before, known, strict=True)],
        applied_source=segment.applied_source[before], trust=segment.trust[before],
        progress=segment.progress[before], success=segment.success[before],
        labels=labels and replace(labels, values=labels.values[nearest]),
    )


def resampled_path(segments: Sequence[Segment], period_s: float) -> list[Segment]:
    """Return the segments of a path, whose ticks lie `period_s` apart, also from one to the next.

    Args:
        segments: in order, of one episode; each ends one step before the next one begins.
        period_s: the new control period, s.

    Raises:
        BagError: the recording is too slow for this period.
    """
    first = segments[0]
    if len(segments) == 1:
        return [resampled(first, period_s)]
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(one, name) for one in segments]) for name in _ARRAYS
    } | {name: [value for one in segments for value in getattr(one, name)] for name in _LISTS}
    images = {
        name: np.concatenate([one.observations[name] for one in segments])
        for name in first.observations
    }
    whole = resampled(replace(first, **columns, observations=images, labels=None), period_s)
    starts = np.searchsorted(whole.steps, [one.steps[0] for one in segments])
    ends = [*starts[1:], whole.length]
    return [
        replace(
            _ticks(whole, slice(int(start), int(end))), path=one.path, epoch=one.epoch,
            lineage=replace(
                one.lineage, period_s=period_s, measured_period_s=UNKNOWN,
                measured_period_p5_s=UNKNOWN, measured_period_p95_s=UNKNOWN,
            ),
        )
        for one, start, end in zip(segments, starts, ends, strict=True) if end > start
    ]


def ticks_before(segment: Segment, step: int) -> Segment:
    """Return the ticks of a segment before a step; their actions are all kept."""
    return _ticks(segment, slice(0, int(np.searchsorted(segment.steps, step))))


def _ticks(segment: Segment, some: slice) -> Segment:
    columns: dict[str, Any] = {
        name: getattr(segment, name)[some] for name in (*_ARRAYS, *_LISTS)
    }
    return replace(
        segment, **columns,
        observations={name: images[some] for name, images in segment.observations.items()},
        labels=segment.labels and replace(segment.labels, values=segment.labels.values[some]),
    )


def _turning(embodiment: Embodiment) -> NDArray[np.bool_]:
    """Return which entries of the action are a rotation's, [A]."""
    turning = np.zeros(embodiment.action_dim, bool)
    for group in embodiment.groups:
        if group.rotation != "none":
            turning[group.rotation_slice] = True
    return turning


def _times(segment: Segment, recorded: ControlPeriod) -> Array:
    """Return the time of each tick, s from the first: by stamp on hardware, else by step."""
    if recorded.median_s > 0.0:
        intervals = np.diff(segment.stamps_ns) * 1e-9
        # A clock that was set back leaves a pause, which no grid crosses.
        intervals[intervals <= 0.0] = 2 * _PAUSE * recorded.seconds
        return np.concatenate([[0.0], np.cumsum(intervals)])
    times: Array = (segment.steps - segment.steps[0]).astype(np.float64) * recorded.seconds
    return times


def _runs(segment: Segment, times: Array, period_s: float) -> list[NDArray[np.intp]]:
    """Return the ticks of each stretch without a pause or an unknown action inside."""
    pauses = np.diff(times) > _PAUSE * period_s
    unknown = np.isnan(segment.actions[:-1]).any(axis=1)
    ends = np.flatnonzero(pauses | unknown) + 1
    return np.split(np.arange(segment.length), ends)


def _grid(times: Array, period_s: float) -> Array:
    count = int((times[-1] - times[0]) / period_s + 1e-3) + 1
    grid: Array = np.minimum(times[0] + period_s * np.arange(count), times[-1])
    return grid


def _nearest(times: Array, at: Array) -> NDArray[np.intp]:
    after = np.searchsorted(times, at).clip(0, len(times) - 1)
    before = (after - 1).clip(0)
    return np.where(at - times[before] < times[after] - at, before, after)


def _actions(segment: Segment, run: NDArray[np.intp], times: Array, grid: Array) -> Array:
    """Return the target at the end of each grid tick, [K, A]; the last one is unknown."""
    out = np.full((len(grid), segment.actions.shape[1]), np.nan)
    if len(run) > 1 and len(grid) > 1:
        # Action t is the target for tick t + 1.
        given = segment.actions[run[:-1]].astype(np.float64)
        out[:-1] = ActionDeltas(segment.embodiment).interpolated(grid[1:], times[1:], given)
    return out
