"""Which image goes into which split."""

import math

import numpy as np

from imageclf.randomness import permutation, random_bits

CHOSEN = 1  # the counter that sets the choice of per_class apart from that of the splits
FEW = 1000  # images, of which a tenth would be too few for a test
LEAST = {"test": 8, "val": 25}  # different images of a class from which on it has one there
SMALL = 50  # different images; a class of fewer is too small to leave its shares to chance


def choose_validation(labels: np.ndarray, *, fraction: float, seed: int) -> np.ndarray:
    """Pick `fraction` of every class at random; labels int64 (N,) in, bool (N,) out.

    Each class gives its share rounded to the nearest image, so every class is as frequent in both splits.
    """
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = round(fraction * len(members))
        chosen[members[permutation(len(members), seed, int(label))[:count]]] = True
    return chosen


def auto_test_fraction(images: int) -> float:
    """What `prepare.test_fraction: auto` means for so many own images."""
    return 0.2 if images < FEW else 0.1


def split_by_content(
    contents: np.ndarray, given: np.ndarray, labels: np.ndarray, *, val_fraction: float, test_fraction: float, seed: int
) -> np.ndarray:
    """The split of each image, by what it shows: contents uint64 (N,), given splits and labels (N,), splits (N,) out.

    An image's place depends on nothing but its own content: equal images stay together, and each class gets its share
    up to chance. A class of fewer than 50 different images gets its share rounded up or down: where chance gives it
    more or less, the nearest by their places move. So one of 8 images has one in the test, and one of 25 has one in
    validation; larger classes too, and every class has one to train on. More images move no other, but for these
    nearest ones. Given splits stay; what is not given is cut from the rest, which is training.
    """
    place = random_bits(seed, contents) / 2.0**64  # in [0, 1]
    shares = {
        "test": 0.0 if "test" in given else test_fraction,
        "val": 0.0 if "val" in given else val_fraction,
    }
    cut, held_out = given.astype("<U5"), (given == "val") | (given == "test")
    classes, numbers = np.unique(labels, return_inverse=True)
    for number in range(len(classes)):
        members = np.flatnonzero((numbers == number) & ~held_out)
        cut[members] = _cut(place[members], shares)
    return cut


def _cut(place: np.ndarray, shares: dict[str, float]) -> np.ndarray:
    """The splits (n,) of a class's images by their places (n,), the test's lowest; those of one place are the same."""
    different = np.unique(place)
    cut = np.full(len(place), "train")
    until, taken = 0.0, 0
    for split, share in shares.items():
        until += share
        least, most = _bounds(split, share, len(different))
        by_chance = int((different < until).sum()) - taken
        count = min(max(by_chance, least), most, len(different) - 1 - taken)  # one is left to train on
        cut[np.isin(place, different[taken : taken + count])] = split
        taken += count
    return cut


def _bounds(split: str, share: float, different: int) -> tuple[int, int]:
    """How many of a class's different images a split has, at least and at most."""
    least = int(share > 0 and different >= LEAST[split])
    if different >= SMALL:
        return least, different
    return max(least, math.floor(share * different)), math.ceil(share * different)


def few_of_each(labels: np.ndarray, keys: np.ndarray | None, *, count: int | None, seed: int) -> np.ndarray:
    """At most `count` of every class, or all: labels int64 (N,) in, bool (N,) out.

    Which ones is up to `keys` uint64 (N,), what the images show, or without them to their places.
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
