"""Which image goes into which split."""

import numpy as np

from stages.data.randomness import permutation, random_bits

CHOSEN = 1  # the counter that sets the choice of per_class apart from that of the splits


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


def split_by_content(
    contents: np.ndarray, given: np.ndarray, *, val_fraction: float, test_fraction: float, seed: int
) -> np.ndarray:
    """The split of each image, by what it shows: contents uint64 (N,), given splits (N,) of words, words (N,) out.

    An image's place hangs on nothing but its own content: more images move none, equal ones stay together, and each
    class gets its share up to chance. Given splits stay; what is not given is cut from the rest, which is training.
    """
    place = random_bits(seed, contents) / 2.0**64  # in [0, 1]
    test_until = 0.0 if "test" in given else test_fraction
    val_until = test_until if "val" in given else test_until + val_fraction
    cut = np.where(place < test_until, "test", np.where(place < val_until, "val", "train"))
    return np.where((given == "val") | (given == "test"), given, cut)


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
