"""What a task reads from the ground truth of a recording. Only for labels and evaluation."""

import numpy as np
from numpy.typing import NDArray

from hiwm_core.bags.reader import Segment
from hiwm_core.tasks import Task

Array = NDArray[np.float64]


def progress_labels(segment: Segment, task: Task) -> Array:
    """Return the task's progress 0..1 at each tick [T]; NaN where it is not known."""
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
