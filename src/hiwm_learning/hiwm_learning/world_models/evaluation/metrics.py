"""Numbers by which imagined frames, doubts and verdicts are judged: numpy in, plain floats out.

test_world_model_metrics.py holds each against values computed by other programs.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiwm_core.json_files import finite
from hiwm_core.rank_statistics import ranks

Array = NDArray[np.float64]

PEAK = 255.0
# Of two equal frames, whose ratio is infinite, dB.
PSNR_OF_EQUALS = 99.0
# Wang, Bovik, Sheikh and Simoncelli 2004, "Image quality assessment", section III.C.
SSIM_SIDE, SSIM_SIGMA = 11, 1.5
SSIM_C1, SSIM_C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2


def rmse(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Array:
    """Return the root mean square difference of frames [..., H, W, 3], in grey levels, [...]."""
    difference = a.astype(np.float32) - b.astype(np.float32)
    return np.asarray(np.sqrt((difference**2).mean(axis=(-3, -2, -1), dtype=np.float64)))


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Array:
    """Return the peak signal-to-noise ratio of frames [..., H, W, 3], dB, [...]."""
    return psnr_of(rmse(a, b))


def psnr_of(error: Array) -> Array:
    """Return the peak signal-to-noise ratio, dB, of root mean square differences of any shape."""
    with np.errstate(divide="ignore"):
        ratio = 20 * np.log10(PEAK / error)
    return np.asarray(np.minimum(ratio, PSNR_OF_EQUALS))


def ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the structural similarity of two frames [H, W, 3], -1..1.

    Wang et al. 2004: Gaussian window of 11 x 11, sigma 1.5, whole windows only; the mean over
    windows and over the three colours.

    Raises:
        ValueError: a frame smaller than the window.
    """
    if min(a.shape[:2]) < SSIM_SIDE:
        raise ValueError(f"frames of {a.shape[:2]} px are smaller than the {SSIM_SIDE} px window")
    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x = _blurred(x * x) - mean_x**2
    var_y = _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    similar = (2 * mean_x * mean_y + SSIM_C1) * (2 * covariance + SSIM_C2)
    similar /= (mean_x**2 + mean_y**2 + SSIM_C1) * (var_x + var_y + SSIM_C2)
    return float(similar.mean())


def _blurred(image: Array) -> Array:
    """Return an image [H, W, C] weighted by the Gaussian window, whole windows only."""
    offset = np.arange(SSIM_SIDE) - SSIM_SIDE // 2
    kernel = np.exp(-(offset**2) / (2 * SSIM_SIGMA**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        windows = np.lib.stride_tricks.sliding_window_view(image, SSIM_SIDE, axis=axis)
        image = windows @ kernel
    return image


def roc_auc(score: ArrayLike, positive: ArrayLike) -> float:
    """Return the chance that a positive scores above a negative, ties counting half.

    The area under the receiver operating characteristic, by the rank sum (Mann and Whitney 1947).

    Args:
        score: [N], higher where a positive is expected.
        positive: [N] bool.

    Returns:
        0..1, NaN where one of the classes is empty.
    """
    wanted = np.asarray(positive, dtype=bool)
    there, absent = int(wanted.sum()), int((~wanted).sum())
    if not there or not absent:
        return float("nan")
    total = ranks(score)[wanted].sum()
    return float((total - there * (there + 1) / 2) / (there * absent))


def survival_quantile(
    times: ArrayLike, observed: ArrayLike, quantile: float
) -> float | None:
    """Return the time by which a share of the whole has come to its event, or None if unknown.

    Right-censored times count for as long as they were watched (Kaplan and Meier 1958).

    Args:
        times: [N] of the event, or of the end of watching.
        observed: [N] bool; false where watching ended without the event.
        quantile: 0..1, the share.
    """
    ends, events = np.asarray(times, dtype=float), np.asarray(observed, dtype=bool)
    alive = 1.0
    for time in np.unique(ends[events]):
        alive *= 1.0 - (events & (ends == time)).sum() / (ends >= time).sum()
        if alive <= 1.0 - quantile + 1e-12:
            return float(time)
    return None


def confusion(predicted: ArrayLike, actual: ArrayLike) -> dict[str, int]:
    """Return counts of the four cases of two bool arrays [N]."""
    said, was = np.asarray(predicted, dtype=bool), np.asarray(actual, dtype=bool)
    return {
        "true_positives": int((said & was).sum()), "false_positives": int((said & ~was).sum()),
        "false_negatives": int((~said & was).sum()), "true_negatives": int((~said & ~was).sum()),
    }


def reliability(
    trust: ArrayLike, error: ArrayLike, edges: Sequence[float], bad: float
) -> list[dict[str, float | None]]:
    """Return one row a bin of trust: bounds, count, median error, share of errors above `bad`.

    Args:
        trust: [N], 0..1.
        error: [N], infinite where unknown and large.
        edges: rising bounds of the bins; the last bin holds its upper bound.
        bad: error above which an outcome counts as bad.
    """
    values, errors = np.asarray(trust, dtype=float), np.asarray(error, dtype=float)
    rows: list[dict[str, float | None]] = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        within = (values >= low) & ((values < high) | ((high == edges[-1]) & (values == high)))
        found = errors[within]
        rows.append({
            "from": low, "to": high, "n": float(len(found)),
            "median_error": finite(float(np.median(found))) if len(found) else None,
            "bad_share": float((found > bad).mean()) if len(found) else None,
        })
    return rows
