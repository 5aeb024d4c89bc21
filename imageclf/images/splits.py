"""Assign images to splits."""

import math

import numpy as np

from imageclf.randomness import permutation, random_bits

CHOSEN = 1  # the random stream of per_class, separate from that of the splits
FEW = 1000  # images; with fewer, a tenth is too few for a test
LEAST = {"test": 8, "val": 25}  # distinct images that guarantee a class one there
SMALL = 50  # distinct images; a smaller class gets rounded counts instead of random ones


def choose_validation(labels: np.ndarray, *, fraction: float, seed: int) -> np.ndarray:
    """Pick `fraction` of every class at random; labels int64 (N,) in, bool (N,) out.

    The count is rounded for each class, so every class is equally frequent in both splits.
    """
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = round(fraction * len(members))
        chosen[members[permutation(len(members), seed, int(label))[:count]]] = True
    return chosen


def auto_test_fraction(images: int) -> float:
    """The value of `prepare.test_fraction: auto` for this number of own images."""
    return 0.2 if images < FEW else 0.1


def split_by_content(
    contents: np.ndarray, given: np.ndarray, labels: np.ndarray, *, val_fraction: float, test_fraction: float, seed: int
) -> np.ndarray:
    """The split (N,) of each image, from hashes of the contents uint64 (N,), given splits (N,) and labels (N,).

    An image's random place depends only on its content, so equal images stay together, and new images do not move
    others. The size of each split is therefore random. A class of fewer than 50 distinct images gets a rounded count
    instead: the images nearest to the border move. A class of 8 has at least one in the test, a class of 25 at least
    one in validation, and every class at least one in training. Given splits stay; the others are cut from the rest.
    """
    place = random_bits(seed, contents) / 2.0**64  # in [0, 1]
    fractions = {
        "test": 0.0 if "test" in given else test_fraction,
        "val": 0.0 if "val" in given else val_fraction,
    }
    cut, held_out = given.astype("<U5"), (given == "val") | (given == "test")
    classes, numbers = np.unique(labels, return_inverse=True)
    for number in range(len(classes)):
        members = np.flatnonzero((numbers == number) & ~held_out)
        cut[members] = _cut(place[members], fractions)
    return cut


def _cut(place: np.ndarray, fractions: dict[str, float]) -> np.ndarray:
    """The splits (n,) of one class by the images' places (n,): test has the lowest. Equal places are equal images."""
    different = np.unique(place)
    cut = np.full(len(place), "train")
    until, taken = 0.0, 0
    for split, fraction in fractions.items():
        until += fraction
        least, most = _bounds(split, fraction, len(different))
        by_chance = int((different < until).sum()) - taken
        count = min(max(by_chance, least), most, len(different) - 1 - taken)  # one stays in training
        cut[np.isin(place, different[taken : taken + count])] = split
        taken += count
    return cut


def _bounds(split: str, fraction: float, different: int) -> tuple[int, int]:
    """Minimum and maximum number of a class's distinct images in a split."""
    least = int(fraction > 0 and different >= LEAST[split])
    if different >= SMALL:
        return least, different
    return max(least, math.floor(fraction * different)), math.ceil(fraction * different)


def few_of_each(labels: np.ndarray, keys: np.ndarray | None, *, count: int | None, seed: int) -> np.ndarray:
    """Choose at most `count` images of every class, or all: labels int64 (N,) in, bool (N,) out.

    The choice depends on `keys` uint64 (N,), hashes of the contents, or without them on the positions.
    """
    if count is None:
        return np.ones(len(labels), bool)
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if keys is None:
            order = permutation(len(members), seed, int(label), CHOSEN)
        else:
            order = np.argsort(random_bits(seed, keys[members], CHOSEN), kind="stable")
        chosen[members[order[:count]]] = True
    return chosen
