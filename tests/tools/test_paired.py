"""What is said of a difference is what the published methods say, and as often wrong as they promise."""

import math

import numpy as np
import pytest

from imageclf.evaluation.paired import Pairs, accuracy_difference, count_pairs, images_needed, mcnemar_p
from tools.comparing.statistics import holm, mean_difference


def test_pairs_are_counted_by_who_was_right() -> None:
    new, base = np.array([1, 1, 1, 0, 0, 0, 0], bool), np.array([1, 0, 0, 1, 0, 0, 0], bool)
    assert count_pairs(new, base) == Pairs(both=1, fixed=2, broken=1, neither=3)


@pytest.mark.parametrize(
    ("fixed", "broken", "by_hand"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),  # one coin: either side is as rare
        (5, 0, 2 / 32),
        (6, 1, 2 * (1 + 7) / 128),
        (1, 6, 2 * (1 + 7) / 128),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
        (3, 3, 1.0),
    ],
)
def test_mcnemar_is_the_coin_that_one_can_count_by_hand(fixed: int, broken: int, by_hand: float) -> None:
    assert mcnemar_p(fixed, broken) == pytest.approx(by_hand, rel=1e-12)


def test_mcnemar_takes_counts_whose_powers_no_float_can_hold() -> None:
    # Beside the normal approximation with continuity: (|1100 - 1000| - 1) / sqrt(2100).
    z = 99 / math.sqrt(2100)
    assert mcnemar_p(1100, 1000) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.01)


@pytest.mark.parametrize(
    ("pairs", "low", "high"),
    [
        (Pairs(36, 12, 2, 0), 0.0569, 0.3404),  # the first three as Newcombe 1998 has them
        (Pairs(18, 12, 2, 18), 0.0562, 0.3290),
        (Pairs(53, 0, 0, 1), -0.0729, 0.0729),
        (Pairs(59, 6, 16, 80), -0.1186, -0.0046),  # the R package contingencytables, of data from Cavo and others 2012
    ],
)
def test_the_interval_is_the_published_one(pairs: Pairs, low: float, high: float) -> None:
    estimate = accuracy_difference(pairs)
    assert [estimate.low, estimate.high] == pytest.approx([low, high], abs=6e-5)


def test_the_interval_stays_within_what_can_be() -> None:
    for pairs in (Pairs(0, 5, 0, 0), Pairs(0, 0, 5, 0), Pairs(5, 0, 0, 0), Pairs(0, 0, 0, 1)):
        estimate = accuracy_difference(pairs)
        assert -1 <= estimate.low <= estimate.difference <= estimate.high <= 1


def test_the_interval_of_a_mean_is_student_s() -> None:
    # Mean 2.75, standard deviation 1.7078, four values: 3.1824 * 1.7078 / 2 = 2.7175.
    estimate = mean_difference(np.array([1.0, 2.0, 3.0, 5.0]))
    assert [estimate.low, estimate.high] == pytest.approx([2.75 - 2.7175, 2.75 + 2.7175], abs=1e-4)


def test_holm_multiplies_the_smallest_most_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == [pytest.approx(0.03), pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def _simulated(generator: np.random.Generator, images: int, fixed: float, broken: float) -> Pairs:
    counts = generator.multinomial(images, [0.85, fixed, broken, 0.15 - fixed - broken])
    return Pairs(*(int(count) for count in counts))


def test_with_no_true_difference_about_one_in_twenty_is_called_different() -> None:
    generator = np.random.default_rng(0)
    runs = [_simulated(generator, 10_000, 0.03, 0.03) for _ in range(1000)]
    found = sum(mcnemar_p(pairs.fixed, pairs.broken) < 0.05 for pairs in runs)
    assert 20 <= found <= 65  # of 1,000; an exact test errs on the side of "cannot tell"


def test_the_interval_holds_the_true_difference_in_about_95_of_100() -> None:
    generator = np.random.default_rng(1)
    runs = [accuracy_difference(_simulated(generator, 2000, 0.04, 0.03)) for _ in range(1000)]
    held = sum(estimate.low <= 0.01 <= estimate.high for estimate in runs)
    assert 930 <= held <= 970


def test_with_as_many_images_as_are_asked_for_the_difference_is_found_as_often_as_promised() -> None:
    seen = Pairs(1700, 60, 40, 200)  # 3 % fixed, 2 % broken
    images = images_needed(seen)
    assert images is not None and images > seen.images
    generator = np.random.default_rng(2)
    runs = [_simulated(generator, images, 0.03, 0.02) for _ in range(1000)]
    found = sum(mcnemar_p(pairs.fixed, pairs.broken) < 0.05 for pairs in runs)
    assert 750 <= found <= 840


def test_no_number_of_images_shows_a_difference_that_is_not_there() -> None:
    assert images_needed(Pairs(10, 4, 4, 2)) is None
