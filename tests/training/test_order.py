"""The order of an epoch is a function of (seed, epoch), and balanced it has as many images of every class."""

import numpy as np

from imageclf.randomness import permutation
from imageclf.training.schedule import epoch_order, hardest

LABELS = np.repeat([0, 1, 3], [900, 90, 10])[permutation(1000, 9)]


def test_shuffled_has_every_image_once() -> None:
    order, epochs = epoch_order(LABELS, "shuffled", 0, 2)
    assert sorted(order) == list(range(1000))
    assert epochs is None


def test_balanced_draws_every_class_as_often() -> None:
    order, _ = epoch_order(LABELS, "balanced", 0, 2)
    counts = np.bincount(LABELS[order])
    assert len(order) == 1000
    assert counts[2] == 0
    assert all(abs(count - 333) < 75 for count in counts[[0, 1, 3]])  # five standard deviations
    assert len(np.unique(order[LABELS[order] == 3])) == 10
    assert len(np.unique(order[LABELS[order] == 0])) > 200


def test_balanced_is_a_function_of_seed_and_epoch() -> None:
    def drawn(seed: int, epoch: int) -> list[int]:
        return epoch_order(LABELS, "balanced", seed, epoch)[0].tolist()

    assert drawn(0, 0) == drawn(0, 0)
    assert drawn(0, 0) != drawn(0, 1)
    assert drawn(0, 0) != drawn(1, 0)


def test_an_image_that_is_drawn_again_has_another_turn() -> None:
    seen = set()
    for epoch in range(5):
        order, epochs = epoch_order(LABELS, "balanced", 0, epoch)
        assert epochs is not None
        assert epochs[0] == epoch  # the first draw of an image is that of the epoch
        seen |= set(zip(order.tolist(), epochs.tolist(), strict=True))
    assert len(seen) == 5000


def test_the_hardest_keep_their_order_and_unseen_ones_come_first() -> None:
    losses = np.array([0.5, np.inf, 0.1, 2.0, 0.5])
    assert hardest(np.array([4, 2, 0, 3, 1]), losses, 3).tolist() == [0, 3, 1]
    assert hardest(np.array([4, 2, 0, 3, 1]), losses, 4).tolist() == [4, 0, 3, 1]
