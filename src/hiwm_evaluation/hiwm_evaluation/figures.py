"""The report's figures: rates, gains, and imagination against the stand-in.

Colours follow the source of the training data (``hiwm_core.palette``): grey for the base policy,
blue for its own rollouts, green for demonstrations, orange for corrections. Marker shapes repeat
this for print without colours. Tested by ``test_figures.py``.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hiwm_core import palette
from hiwm_evaluation.findings import Agreement, Gain, Rate, cells_of, pooled, sets_of
from hiwm_evaluation.study_file import Backbone, Study, TrainingSet, World

SET_NAMES = {
    TrainingSet.START: "start", TrainingSet.BASE: "base", TrainingSet.WM_CL: "WM-CL",
    TrainingSet.DEMONSTRATIONS: "more demonstrations",
    TrainingSet.STAND_IN_CORRECTIONS: "stand-in corrections",
    TrainingSet.HI_WM: "Hi-WM", TrainingSet.OTHER: "other",
}
BACKBONE_NAMES = {Backbone.DIFFUSION: "Diffusion Policy", Backbone.ACT: "ACT"}
WORLD_NAMES = {World.STAND_IN: "stand-in", World.IMAGINATION: "imagination"}

_SET_COLOURS = {
    TrainingSet.START: palette.GREY, TrainingSet.BASE: palette.GREY,
    TrainingSet.WM_CL: palette.BLUE, TrainingSet.DEMONSTRATIONS: palette.GREEN,
    TrainingSet.STAND_IN_CORRECTIONS: palette.ORANGE, TrainingSet.HI_WM: palette.ORANGE,
    TrainingSet.OTHER: palette.PURPLE,
}
_SET_MARKERS = {
    TrainingSet.START: ".", TrainingSet.BASE: "o", TrainingSet.WM_CL: "s",
    TrainingSet.DEMONSTRATIONS: "P", TrainingSet.STAND_IN_CORRECTIONS: "v",
    TrainingSet.HI_WM: "^", TrainingSet.OTHER: "D",
}
#: Of text, of secondary text, and of grids.
INK, FAINT, GRID = "#282c34", "#808690", "#e4e6ea"
WIDTH_IN = 8.6  # of a figure
_DPI = 200
#: Settings of matplotlib.
STYLE: dict[Any, Any] = {
    "font.size": 9.5, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.edgecolor": FAINT, "axes.spines.top": False,
    "axes.spines.right": False, "axes.axisbelow": True, "figure.dpi": _DPI, "savefig.dpi": _DPI,
    "axes.titlesize": 10.5, "axes.titlelocation": "left", "legend.frameon": False,
}


def rates_figure(study: Study) -> Figure:
    """Return pooled rates of each set, one panel per backbone; small marks are single seeds."""
    shown = sets_of(study)
    with matplotlib.rc_context(STYLE):
        # Names of more than three sets need the whole width.
        rows, columns = (1, len(Backbone)) if len(shown) < 4 else (len(Backbone), 1)
        figure = Figure(figsize=(WIDTH_IN, 0.5 + 2.8 * rows), layout="constrained")
        panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
        for axes, backbone in zip(panels, Backbone, strict=True):
            for place, training_set in enumerate(shown):
                for shift, world in ((-0.17, World.STAND_IN), (0.17, World.IMAGINATION)):
                    _rate_mark(axes, study, backbone, training_set, world, place + shift)
            axes.set_title(BACKBONE_NAMES[backbone])
            axes.set_xticks(
                range(len(shown)), [SET_NAMES[which].replace(" ", "\n") for which in shown]
            )
            axes.set_xlim(-0.5, len(shown) - 0.5)
            axes.tick_params(axis="x", length=0)
            axes.grid(axis="y", color=GRID)
        panels[0].set_ylim(-4, 112)
        panels[0].set_yticks(range(0, 101, 20))
        for axes in panels[::columns]:
            axes.set_ylabel("success, %")
        figure.legend(
            handles=[
                _legend_mark("o", INK, "stand-in"),
                _legend_mark("o", "white", "imagination"),
                Line2D([], [], color=FAINT, marker="_", linestyle="", markersize=8,
                       label="one training seed"),
                Line2D([], [], color=INK, linewidth=1.4, label="95 % Wilson interval, pooled"),
            ],
            loc="outside lower center", ncols=4, handletextpad=0.4,
        )
    return figure


def gains_figure(gains: Sequence[Gain]) -> Figure:
    """Return gains in one or both worlds with intervals, and a line at zero."""
    known = [gain for gain in gains if gain.known]
    with matplotlib.rc_context(STYLE):
        figure = Figure(
            figsize=(WIDTH_IN, 1.0 + 0.3 * max(2, len(known))), layout="constrained"
        )
        axes = figure.subplots()
        for place, gain in enumerate(known):
            colour = _colour(gain.more)
            paired = gain.pairs.trials > 0
            middle = gain.pairs.difference if paired else gain.difference
            low, high = gain.paired_interval if paired else gain.interval
            axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=1.6)
            axes.plot(
                100 * middle, place, marker=_SET_MARKERS[gain.more], color=colour, markersize=7,
                markerfacecolor=colour if gain.world is World.STAND_IN else "white",
            )
            count = f"{gain.pairs.trials} pairs" if paired else f"{_trials(gain)} trials"
            axes.annotate(
                f"n = {count}", (1.0, place), xycoords=axes.get_yaxis_transform(), size=8,
                ha="right", va="center", color=FAINT, xytext=(52, 0), textcoords="offset points",
                annotation_clip=False,
            )
        axes.axvline(0, color=INK, linewidth=0.9)
        axes.set_yticks(range(len(known)), [
            f"{BACKBONE_NAMES[gain.backbone]}, {WORLD_NAMES[gain.world]}: "
            f"{SET_NAMES[gain.more]} minus {SET_NAMES[gain.less]}"
            for gain in known
        ])
        axes.set_ylim(len(known) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=GRID)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("gain in success, percentage points, with 95 % interval")
        if not known:
            axes.set_xticks([])
            axes.text(0.5, 0.5, "no two sets to compare yet", transform=axes.transAxes,
                      ha="center", color=FAINT)
    return figure


def agreement_figure(agreement: Agreement, imagined: str = "imagination") -> Figure:
    """Return success in imagination against success on the stand-in, one mark per policy.

    Args:
        agreement: of the policies.
        imagined: name of the imagined world, for the axis.
    """
    with matplotlib.rc_context(STYLE):
        # Fixed layout: a square plot on the left, legend and numbers in a column on the right.
        figure = Figure(figsize=(7.6, 4.7))
        axes = figure.add_axes((0.082, 0.106, 4.1 / 7.6, 4.1 / 4.7))
        axes.plot([0, 100], [0, 100], color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)))
        for cell in agreement.cells:
            x, y = (pooled([cell], world) for world in (World.IMAGINATION, World.STAND_IN))
            colour = _colour(cell.set)
            filled = cell.backbone is Backbone.DIFFUSION
            axes.errorbar(
                100 * x.rate, 100 * y.rate, xerr=error_bars(x), yerr=error_bars(y), color=colour,
                ecolor=(colour, 0.45), elinewidth=1.0,
                marker=_SET_MARKERS[cell.set], markersize=7,
                markerfacecolor=colour if filled else "white", markeredgewidth=1.5,
            )
        axes.set_xlim(-3, 103)
        axes.set_ylim(-3, 103)
        axes.grid(color=GRID)
        axes.set_xlabel(f"success in {imagined}, %")
        axes.set_ylabel("success on the stand-in, %")
        used = {cell.set for cell in agreement.cells}
        handles = [
            _legend_mark(_SET_MARKERS[which], _colour(which), SET_NAMES[which], _colour(which))
            for which in TrainingSet if which in used
        ]
        handles += [
            _legend_mark("o", INK, BACKBONE_NAMES[Backbone.DIFFUSION]),
            _legend_mark("o", "white", BACKBONE_NAMES[Backbone.ACT]),
            Line2D([], [], color=FAINT, linestyle=(0, (4, 3)), label="equal in both worlds"),
            Line2D([], [], color=FAINT, linewidth=1.0, label="95 % Wilson interval"),
        ]
        figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.64, 0.99))
        figure.text(0.655, 0.11, _numbers(agreement), size=8.5, linespacing=1.5)
    return figure


def _trials(gain: Gain) -> str:
    return f"{gain.more_counts[1]}, {gain.less_counts[1]}"


def _numbers(agreement: Agreement) -> str:
    """Return the numbers of policies and trials, and the estimates, one per line."""
    trials = [pooled([cell], world).trials for cell in agreement.cells for world in World]
    lines = [f"n = {len(agreement.cells)} policies"]
    if trials:
        span = f"{min(trials)} to {max(trials)}" if min(trials) < max(trials) else f"{trials[0]}"
        lines.append(f"n = {span} trials each per world")
    lines += [
        f"{name} {estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
        for name, estimate in agreement.estimates.items()
    ]
    return "\n".join(lines)


def _rate_mark(
    axes: Axes, study: Study, backbone: Backbone, training_set: TrainingSet, world: World, x: float
) -> None:
    cells = cells_of(study, backbone, training_set)
    rate = pooled(cells, world)
    if not rate.trials:
        axes.text(x, 2, "missing", rotation=90, ha="center", va="bottom", color=FAINT, size=8)
        return
    colour = _colour(training_set)
    for cell in cells:
        of_seed = pooled([cell], world)
        if of_seed.trials and len(cells) > 1:
            axes.plot(x + 0.09, 100 * of_seed.rate, marker="_", color=FAINT, markersize=7)
    axes.errorbar(
        x, 100 * rate.rate, yerr=error_bars(rate), color=colour, elinewidth=1.6, capsize=3,
        marker=_SET_MARKERS[training_set], markersize=7.5, markeredgewidth=1.5,
        markerfacecolor=colour if world is World.STAND_IN else "white",
    )
    axes.annotate(
        # Above the bar, or above the mark if the bar ends within it.
        f"{rate.successes}/{rate.trials}", (x, 100 * max(rate.interval[1], rate.rate + 0.03)),
        xytext=(0, 4),
        textcoords="offset points", ha="center", size=8,
    )


def error_bars(rate: Rate) -> list[list[float]]:
    """Return the lengths of the error bar below and above, in percent."""
    low, high = rate.interval
    return [[max(0.0, 100 * (rate.rate - low))], [max(0.0, 100 * (high - rate.rate))]]


def _colour(training_set: TrainingSet) -> str:
    return "#{:02x}{:02x}{:02x}".format(*_SET_COLOURS[training_set])


def _legend_mark(marker: str, face: str, label: str, edge: str = INK) -> Line2D:
    return Line2D(
        [], [], marker=marker, color=edge, markerfacecolor=face, linestyle="", markersize=7,
        markeredgewidth=1.5, label=label,
    )
