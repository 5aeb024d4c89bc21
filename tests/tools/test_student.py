"""Student's t against a printed table, which every book of statistics has."""

import pytest

from tools.comparing.statistics import critical_t, two_sided_p

TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 10: 2.228, 30: 2.042, 120: 1.980}


@pytest.mark.parametrize("freedom", TABLE)
def test_critical_values_are_those_of_the_tables(freedom: int) -> None:
    assert critical_t(freedom) == pytest.approx(TABLE[freedom], abs=5e-4)


def test_many_degrees_of_freedom_are_the_normal_distribution() -> None:
    assert critical_t(1e6) == pytest.approx(1.96, abs=1e-3)
    assert critical_t(99_999) == pytest.approx(critical_t(100_001), abs=1e-4)


def test_one_degree_of_freedom_is_the_cauchy_distribution() -> None:
    # Its distribution function is 1/2 + atan(t)/pi: half of it lies within -1 and 1.
    assert two_sided_p(1, 1) == pytest.approx(0.5)
    assert two_sided_p(-1, 1) == pytest.approx(0.5)


def test_no_difference_has_p_1_and_a_boundless_one_p_0() -> None:
    assert two_sided_p(0, 3.5) == 1
    assert two_sided_p(float("inf"), 2) == 0
