"""What is known of success in a recording: from ground truth, and from a person's label.

Only labels of training and evaluation use it. Tested by ``test_task_labels.py``.
"""

import numpy as np
from numpy.typing import NDArray

from hiwm_core.bags.reader import Segment
from hiwm_core.episode_labels import EpisodeLabel
from hiwm_core.tasks import FAILURE, SUCCESS, Task

Array = NDArray[np.float64]

# A person labels how an episode ended, so its last half second shows it.
_END_S = 0.5
# No episode is solved in its first quarter: it starts unsolved, and policies rarely succeed sooner.
_START_SHARE = 0.25


def progress_labels(segment: Segment, task: Task, said: EpisodeLabel | None = None) -> Array:
    """Return the task's progress 0..1 at each tick [T]; NaN where it is not known.

    Args:
        segment: the recording.
        task: its plug-in reads progress from ground truth.
        said: a person's label; its marks count where no ground truth was recorded.
    """
    truth = _true_progress(segment, task)
    if said is None or not np.isnan(truth).all():
        return truth
    return said.progress_at(segment.steps)


def success_labels(segment: Segment, task: Task, said: EpisodeLabel | None = None) -> Array:
    """Return whether the task is solved at each tick, 0 or 1 [T]; NaN where it is not known.

    Ground truth says it of every tick. Without it, no tick of what a person labelled a failure is
    solved; the last ticks of a success are, and its first ones are not. A person's marks of
    progress say it of the ticks between them.
    """
    progress = progress_labels(segment, task, said)
    solved = np.where(np.isnan(progress), np.nan, progress >= task.success_progress)
    if said is None or not np.isnan(_true_progress(segment, task)).all():
        return solved
    if said.label == FAILURE:
        return np.zeros(segment.length)
    if said.label == SUCCESS:
        last = max(1, round(_END_S * segment.embodiment.rate_hz))
        first = np.arange(segment.length) < int(_START_SHARE * segment.length)
        solved[first & np.isnan(solved)] = 0.0
        solved[-last:] = 1.0
    return solved


def _true_progress(segment: Segment, task: Task) -> Array:
    unknown = np.full(segment.length, np.nan)
    labels, plugin = segment.labels, task.plugin
    if labels is None or plugin is None or not set(plugin.truth_names) <= set(labels.names):
        return unknown
    return np.array([
        plugin.progress(dict(zip(labels.names, row, strict=True)))
        if np.isfinite(row).all() else np.nan
        for row in labels.values.tolist()
    ])


def start_values(segment: Segment, task: Task) -> Array:
    """Return the values of the task's starts at each tick [T, S]; NaN where they are not known."""
    if segment.labels is None:
        return np.full((segment.length, len(task.start_names)), np.nan)
    return segment.labels.columns(task.start_names)
