"""Wilson's interval against published values."""

import pytest

from imageclf.evaluation.scores import wilson_interval


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    # Newcombe 1998 (Statistics in Medicine 17, 857-872), table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_it_is_the_published_interval(right: int, count: int, low: float, high: float) -> None:
    assert wilson_interval(right, count) == pytest.approx((low, high), abs=5e-5)


def test_it_is_symmetric_and_never_leaves_0_to_1() -> None:
    for right in range(21):
        low, high = wilson_interval(right, 20)
        assert 0 <= low <= right / 20 <= high <= 1
        assert wilson_interval(20 - right, 20) == pytest.approx((1 - high, 1 - low))


def test_no_images_say_nothing() -> None:
    assert wilson_interval(0, 0) == (0, 1)
