"""Randomness is a function of where it is used, and looks random."""

import numpy as np

from imageclf.randomness import permutation, random_bits, random_integers

PINNED = [12035550249420947055, 7880943453193273481, 15230169564601502494]


def test_the_numbers_never_change() -> None:
    # A change here changes every model: these were written down once.
    assert [int(random_bits(0, index)) for index in range(3)] == PINNED


def test_a_whole_array_gives_what_its_elements_give() -> None:
    array = random_bits(7, 3, np.arange(100))
    assert [int(bits) for bits in array] == [int(random_bits(7, 3, index)) for index in range(100)]


def test_the_order_of_the_counters_matters() -> None:
    assert int(random_bits(1, 2)) != int(random_bits(2, 1))


def test_every_image_stands_in_a_permutation_once() -> None:
    assert sorted(permutation(1000, 0, 5)) == list(range(1000))


def test_two_epochs_have_two_orders() -> None:
    assert (permutation(1000, 0, 0) == permutation(1000, 0, 1)).mean() < 0.02


def test_integers_are_spread_evenly() -> None:
    counts = np.bincount(random_integers(5, 0, np.arange(50_000)), minlength=5)
    assert abs(counts - 10_000).max() < 500  # five standard deviations


def test_neighbouring_seeds_share_nothing() -> None:
    a, b = random_bits(0, np.arange(10_000)), random_bits(1, np.arange(10_000))
    same_bits = np.unpackbits((a ^ b).view(np.uint8)).mean()
    assert abs(same_bits - 0.5) < 0.005
