import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiwm_core.rank_statistics import ranks, spearman


def test_ranks_correlate_as_in_scipy() -> None:
    x = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]
    assert spearman(x, [2, 7, 1, 8, 2, 8, 1, 8, 2, 8, 4]) == pytest.approx(0.1384567651467695)
    with_infinity = [*x[:-1], math.inf]
    assert spearman(with_infinity, np.arange(11) ** 2) == pytest.approx(0.5446352595842512)


def test_equal_values_share_their_mean_rank() -> None:
    assert ranks([5, 1, 5, 9]).tolist() == [2.5, 1.0, 2.5, 4.0]


def test_a_constant_or_a_single_value_has_no_correlation() -> None:
    assert math.isnan(spearman([1, 2, 3], [4, 4, 4]))
    assert math.isnan(spearman([1], [2]))
    with pytest.raises(ValueError, match="pairs"):
        spearman([1, 2], [1, 2, 3])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=30))
def test_the_correlation_sees_only_the_order(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs, dtype=float).T
    assert spearman(a, b) == pytest.approx(spearman(np.exp(a), b**3), nan_ok=True)
    assert spearman(a, b) == pytest.approx(-spearman(-a, b), nan_ok=True)
