"""Student's t against a printed table, which every book of statistics has."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from tools.comparing.statistics import critical_t, welch

TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 10: 2.228, 30: 2.042, 120: 1.980}


@pytest.mark.parametrize("freedom", TABLE)
def test_critical_values_are_those_of_the_tables(freedom: int) -> None:
    assert critical_t(freedom) == pytest.approx(TABLE[freedom], abs=5e-4)


def test_many_degrees_of_freedom_are_the_normal_distribution() -> None:
    assert critical_t(1e6) == pytest.approx(1.96, abs=1e-3)
    assert critical_t(99_999) == pytest.approx(critical_t(100_001), abs=1e-4)


def test_welch_s_test_is_scipy_s() -> None:
    new, base = np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0, 8.0, 9.0])
    expected = ttest_ind(new, base, equal_var=False)
    estimate, p = welch(new, base)
    assert p == pytest.approx(expected.pvalue)
    assert (estimate.low, estimate.high) == pytest.approx(expected.confidence_interval())


def test_equal_values_have_p_1_and_constant_ones_that_differ_p_0() -> None:
    same, other = np.array([0.5, 0.5]), np.array([0.6, 0.6])
    assert welch(same, same)[1] == 1
    assert welch(same, other)[1] == 0
