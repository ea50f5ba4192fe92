"""The report's figure of a study's comparison with and without branches.

Tested by ``test_control_figures.py``.
"""

from collections.abc import Callable, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hiwm_core import palette
from hiwm_evaluation.control_findings import BranchingPoint
from hiwm_evaluation.figures import (
    BACKBONE_NAMES,
    FAINT,
    GRID,
    INK,
    STYLE,
    WIDTH_IN,
    error_bars,
)
from hiwm_evaluation.study_file import Backbone, BranchingPolicy

#: Way of correcting -> its name, for people.
CORRECTED_NAMES = {
    "": "base, no correction", "branched": "with rollback and branches", "in place": "in place",
}
_COLOURS = {"branched": palette.ORANGE, "in place": palette.BLUE}
_MARKERS = {"branched": "^", "in place": "s"}
_AXES: tuple[tuple[str, Callable[[BranchingPolicy], float]], ...] = (
    ("operator seconds learnt from", lambda policy: policy.operator_seconds),
    ("interventions", lambda policy: policy.corrections),
)


def branching_figure(points: Sequence[BranchingPoint]) -> Figure:
    """Return success against operator seconds and against interventions; one row per backbone."""
    shown = [b for b in Backbone if any(point.policy.backbone is b for point in points)]
    with matplotlib.rc_context(STYLE):
        figure = Figure(
            figsize=(WIDTH_IN, 0.6 + 2.9 * max(1, len(shown))), layout="constrained"
        )
        panels = figure.subplots(max(1, len(shown)), 2, sharey=True, squeeze=False)
        for row, backbone in zip(panels, shown, strict=False):
            of_backbone = [point for point in points if point.policy.backbone is backbone]
            for axes, (title, value) in zip(row, _AXES, strict=True):
                for shift, corrected in ((-0.006, "branched"), (0.006, "in place")):
                    _curve(axes, of_backbone, corrected, value, shift)
                for point in of_backbone:
                    if not point.policy.corrected:
                        axes.plot(
                            value(point.policy), 100 * point.rate.rate, marker="o", markersize=7,
                            color=INK, linestyle="", zorder=4, label="base policy",
                        )
                axes.set_xlabel(title)
                axes.grid(color=GRID)
            row[0].set_title(BACKBONE_NAMES[backbone])
            row[0].set_ylabel("success on the stand-in, %")
        panels[0][0].set_ylim(-3, 103)
        handles, labels = panels[0][0].get_legend_handles_labels()
        if handles:
            handles.append(Line2D([], [], color=FAINT, linewidth=1.2))
            labels.append("95 % Wilson interval")
            figure.legend(handles, labels, loc="outside lower center", ncols=4)
        else:
            panels[0][0].text(0.5, 0.5, "no policy yet", ha="center", color=FAINT,
                              transform=panels[0][0].transAxes)
    return figure


def _curve(
    axes: Axes, points: Sequence[BranchingPoint], corrected: str,
    value: Callable[[BranchingPolicy], float], shift: float,
) -> None:
    """Draw one way of correcting, from the base policy on."""
    some = sorted(
        (point for point in points if point.policy.corrected in ("", corrected)),
        key=lambda point: value(point.policy),
    )
    if not any(point.policy.corrected for point in some):
        return
    widest = max(value(point.policy) for point in points) or 1.0
    colour = "#{:02x}{:02x}{:02x}".format(*_COLOURS[corrected])
    # Shifted, so that equal operator seconds do not hide each other's intervals.
    places = [
        value(point.policy) + shift * widest * (point.policy.corrected != "") for point in some
    ]
    bars = [error_bars(point.rate) for point in some]
    axes.errorbar(
        places, [100 * point.rate.rate for point in some],
        yerr=[[bar[side][0] for bar in bars] for side in (0, 1)],
        color=colour, ecolor=(colour, 0.5), elinewidth=1.2, capsize=3, linewidth=1.4,
        marker=_MARKERS[corrected], markersize=6.5, label=CORRECTED_NAMES[corrected],
    )
