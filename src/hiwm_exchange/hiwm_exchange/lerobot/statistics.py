"""Statistics of LeRobot sets: of each episode, and of a set from those of its episodes.

Mean and deviation of a set are exact. Its quantiles are the means of the episodes' quantiles,
weighted by their lengths, as LeRobot's own. Images count in 0..1, for each channel.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Stats = dict[str, Any]  # min, max, mean, std, count, q01 ... q99: nested lists of numbers

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
# Images of an episode that its statistics are made of; LeRobot takes about as many.
IMAGES_SAMPLED = 100
_STRIDE_PX = 150  # images with longer sides are thinned to about this many pixels, as LeRobot does


def column_stats(values: NDArray[Any]) -> Stats:
    """Return the statistics of a column [T] or [T, N]; values that are not finite are left out."""
    rows = np.asarray(values, np.float64).reshape(len(values), -1)
    masked = np.ma.masked_invalid(rows)

    def filled(values: Any) -> list[float]:
        return [float(value) for value in np.ma.filled(np.ma.atleast_1d(values), 0.0)]

    found: Stats = {
        "min": filled(masked.min(axis=0)), "max": filled(masked.max(axis=0)),
        "mean": filled(masked.mean(axis=0)), "std": filled(masked.std(axis=0)),
        "count": [len(rows)],
    }
    shares = list(QUANTILES.values())
    if len(rows) and np.isfinite(rows).all():
        quantiles = np.quantile(rows, shares, axis=0)
    else:
        known = [column[np.isfinite(column)] for column in rows.T]
        quantiles = np.stack([
            np.quantile(column, shares) if len(column) else np.zeros(len(shares))
            for column in known
        ], axis=1)
    return found | {
        name: [float(value) for value in row]
        for name, row in zip(QUANTILES, quantiles, strict=True)
    }


class ImageHistogram:
    """Collects the images of an episode, block by block."""

    def __init__(self) -> None:
        self._counts = np.zeros((3, 256), np.int64)
        self._images = 0

    def take(self, images: NDArray[np.uint8], every: int) -> None:
        """Count each `every`-th of some images [T, H, W, 3]."""
        step = max(1, -(-max(images.shape[1:3]) // (2 * _STRIDE_PX)))
        some = images[::every, ::step, ::step]
        for channel in range(3):
            self._counts[channel] += np.bincount(
                some[..., channel].reshape(-1), minlength=256
            )
        self._images += len(some)

    def stats(self) -> Stats:
        """Return the statistics, each [3, 1, 1]."""
        levels = np.arange(256) / 255.0
        shares = self._counts / self._counts.sum(axis=1, keepdims=True)
        mean = shares @ levels
        std = np.sqrt(np.maximum(shares @ levels**2 - mean**2, 0.0))
        seen = self._counts > 0
        below = np.cumsum(shares, axis=1)
        found: Stats = {
            "min": _nested(levels[seen.argmax(axis=1)]),
            "max": _nested(levels[255 - seen[:, ::-1].argmax(axis=1)]),
            "mean": _nested(mean), "std": _nested(std), "count": [self._images],
        }
        for name, share in QUANTILES.items():
            found[name] = _nested(levels[(below >= share - 1e-12).argmax(axis=1)])
        return found


def merged(total: Stats | None, more: Stats) -> Stats:
    """Return the statistics of what both were made of."""
    if total is None:
        return more
    ours, theirs = total["count"][0], more["count"][0]
    share = theirs / max(1, ours + theirs)
    one = {name: np.asarray(total[name], np.float64) for name in total}
    other = {name: np.asarray(more[name], np.float64) for name in more}
    mean = one["mean"] + share * (other["mean"] - one["mean"])
    power = (1 - share) * (one["std"] ** 2 + one["mean"] ** 2) + share * (
        other["std"] ** 2 + other["mean"] ** 2
    )
    found: dict[str, NDArray[np.float64]] = {
        "min": np.minimum(one["min"], other["min"]), "max": np.maximum(one["max"], other["max"]),
        "mean": mean, "std": np.sqrt(np.maximum(power - mean**2, 0.0)),
    }
    for name in QUANTILES:
        found[name] = one[name] + share * (other[name] - one[name])
    return {name: values.tolist() for name, values in found.items()} | {"count": [ours + theirs]}


def without_quantiles(stats: Mapping[str, Stats]) -> dict[str, Stats]:
    """Return statistics as v2.1 has them."""
    return {
        feature: {name: value for name, value in found.items() if name not in QUANTILES}
        for feature, found in stats.items()
    }


def _nested(values: NDArray[np.float64]) -> list[list[list[float]]]:
    return [[[float(value)]] for value in values]
