"""A comparison in words: numbers have the digits that mean something."""

import pytest

from imageclf.evaluation.paired import mcnemar_p
from tools.comparing.verdict import NAME, cut, p_value


@pytest.mark.parametrize(
    ("p", "words"), [(1.0, "1.000"), (0.0495, "0.050"), (0.001, "0.001"), (0.00042, "4e-04"), (3e-299, "3e-299")]
)
def test_a_p_value_has_three_digits_or_its_size(p: float, words: str) -> None:
    assert p_value(p) == words


def test_a_p_too_small_for_a_float_is_not_said_to_be_zero() -> None:
    assert p_value(mcnemar_p(2000, 0)) == "<1e-300"


def test_long_names_that_begin_or_end_alike_stay_apart() -> None:
    names = ["a" * 70 + "1", "a" * 70 + "2", "1" + "a" * 70]
    assert len({cut(name) for name in names}) == 3
    assert {len(cut(name)) for name in [*names, "b" * NAME, "b" * (NAME + 1)]} == {NAME}
