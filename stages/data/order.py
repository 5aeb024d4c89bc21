"""The order in which the training images come: a function of (seed, epoch), and which of them are worth it."""

import numpy as np

from stages.data.chances import DRAWN_CLASS, DRAWN_IMAGE
from stages.data.randomness import permutation, random_bits, random_integers

AGAIN = 2**32 + 1  # from an image's turn to its next in the epoch; odd, so that an alternate flip alternates


def epoch_order(labels: np.ndarray, sampling: str, seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Indices (N,) of an epoch's images, and the turn (N,) of each where an image can come more than once.

    shuffled is every image once. balanced is N draws with replacement, each of a class first, so that every class
    that has images has the same chance; an image that is drawn again has a new turn, and is augmented in another way.
    """
    if sampling == "shuffled":
        return permutation(len(labels), seed, epoch), None
    classes, counts = np.unique(labels, return_counts=True)
    drawn = random_integers(len(classes), seed, DRAWN_CLASS, epoch, np.arange(len(labels)))
    within = random_bits(seed, DRAWN_IMAGE, epoch, np.arange(len(labels))) % counts[drawn].astype(np.uint64)
    first = np.cumsum(counts) - counts  # of each class in an array sorted by class
    indices = np.argsort(labels, kind="stable")[first[drawn] + within.astype(np.int64)]
    return indices, epoch + AGAIN * _times_before(indices)


def hardest(order: np.ndarray, losses: np.ndarray, count: int) -> np.ndarray:
    """The `count` images of `order` (N,), each once in it, with the highest `losses` (N,), in the order they had.

    Such a choice spares the easy ones' share of an epoch (arXiv:1511.06343, arXiv:1910.00762). Of equal losses the
    lower index counts as the higher one.
    """
    chosen = np.zeros(len(losses), bool)
    chosen[np.argsort(-losses, kind="stable")[:count]] = True
    return order[chosen[order]]


def _times_before(values: np.ndarray) -> np.ndarray:
    """How often each value (N,) came before, (N,)."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    times = np.empty(len(values), np.int64)
    times[order] = np.arange(len(values)) - np.searchsorted(ordered, ordered)
    return times
