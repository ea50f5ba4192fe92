"""Ranks and rank correlation, which depend only on the order of values.

Tested by ``test_rank_statistics.py``.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Return the ranks of values [N] from 1; equal values share the mean of their ranks."""
    _, place, counts = np.unique(
        np.asarray(values, dtype=float), return_inverse=True, return_counts=True
    )
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2.0)[place], np.float64)


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Return Spearman's rank correlation of values [N] and [N], -1..1.

    Infinite values are allowed. The result is NaN if one side is constant or N is below 2.

    Raises:
        ValueError: the lengths differ.
    """
    rank_a, rank_b = ranks(a), ranks(b)
    if rank_a.shape != rank_b.shape:
        raise ValueError(f"{len(rank_a)} and {len(rank_b)} values: give pairs of values")
    if len(rank_a) < 2 or not (np.ptp(rank_a) and np.ptp(rank_b)):
        return float("nan")
    rank_a, rank_b = rank_a - rank_a.mean(), rank_b - rank_b.mean()
    return float(rank_a @ rank_b / np.sqrt((rank_a @ rank_a) * (rank_b @ rank_b)))
