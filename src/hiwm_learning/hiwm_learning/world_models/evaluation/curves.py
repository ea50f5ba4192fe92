"""The evaluation as a picture: errors against the horizon, and what trust is worth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiwm_learning.checkpoints import write_file

# Told apart by people who see colours differently (after Okabe and Ito).
STYLES = {
    "imagined": ("#0072b2", "-", "imagined"),
    "bound": ("#00966e", "-", "true frame encoded and drawn again"),
    "copy": ("#8c8c8c", "-", "first frame repeated"),
    "floor": ("#e67800", "--", "stand-in, start off a little"),
}


def draw_curves(
    numbers: Mapping[str, Any], floor: Mapping[str, Any] | None, path: Path
) -> None:
    """Write a PNG of three errors against the horizon, and of trust's reliability.

    Args:
        numbers: of an evaluation; the first columns of its measure are drawn.
        floor: step to numbers of the stand-in's own spread, if known.
        path: file to write.
    """
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    axes = figure.subplots(2, 2)
    horizons, measure = numbers["curves"], numbers["measure"]
    panels = [("psnr_db", "PSNR, dB"), *((c["key"], c["title"]) for c in measure["columns"][:2])]
    for axis, (key, title) in zip(axes.flat, panels, strict=False):
        for name, (colour, line, label) in STYLES.items():
            steps, values = _series(horizons, floor, name, key)
            if steps:
                axis.plot(steps, values, line, color=colour, label=label)
        axis.set_xlabel("steps open loop")
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
    for axis in axes.flat[1:3]:
        axis.set_yscale("symlog", linthresh=0.01 if axis is axes.flat[1] else 1.0)
        axis.set_ylim(bottom=0)
    # Every line is in the second panel; there is room for their names in the first.
    lines, names = axes.flat[1].get_legend_handles_labels()
    axes.flat[0].legend(lines, names, fontsize=8, loc="center right", bbox_to_anchor=(1.0, 0.68))
    _draw_reliability(axes.flat[3], numbers["trust"]["reliability"], measure)
    write_file(path, lambda file: figure.savefig(file, format="png", dpi=110))


def _series(
    horizons: Mapping[str, Any], floor: Mapping[str, Any] | None, name: str, key: str
) -> tuple[list[int], list[float]]:
    rows = (
        {h: (floor or {}).get(h) for h in horizons} if name == "floor"
        else {h: row.get(name) for h, row in horizons.items()}
    )
    points = [
        (int(step), float(row[key])) for step, row in rows.items()
        if row and row.get(key) is not None
    ]
    return [step for step, _ in points], [value for _, value in points]


def _draw_reliability(
    axis: Axes, bins: Sequence[Mapping[str, float | None]], measure: Mapping[str, Any]
) -> None:
    names = [f"{row['from']:g}-{row['to']:g}\nn {row['n']:.0f}" for row in bins]
    places = np.arange(len(bins))
    medians = [row["median_error"] if row["median_error"] is not None else np.nan for row in bins]
    shares = [row["bad_share"] if row["bad_share"] is not None else np.nan for row in bins]
    axis.bar(places, shares, width=0.8, color="#0072b2", alpha=0.3)
    axis.plot(places, medians, "o-", color="#0072b2")
    axis.set_xticks(places, names, fontsize=7)
    axis.set_title(
        f"trust: median error, {measure['error_unit']} (dots), share above "
        f"{measure['bad_error']:g} (bars)", fontsize=10,
    )
    axis.grid(alpha=0.3, axis="y")
