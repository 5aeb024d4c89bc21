"""A split by content: shares are kept, seeds differ, and what is given stays."""

import numpy as np
import pytest

from stages.data.randomness import random_bits
from stages.preparing.split import few_of_each, split_by_content

CONTENTS = random_bits(7, np.arange(20_000))
FREE = np.full(20_000, "")


def split(contents: np.ndarray = CONTENTS, given: np.ndarray = FREE, seed: int = 0) -> np.ndarray:
    return split_by_content(contents, given, val_fraction=0.1, test_fraction=0.2, seed=seed)


def test_each_split_gets_its_share_up_to_chance() -> None:
    places = split()
    for name, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        assert (places == name).mean() == pytest.approx(share, abs=0.015)


def test_neither_order_nor_neighbours_matter() -> None:
    assert (split(CONTENTS[::-1], FREE) == split()[::-1]).all()
    assert (split(CONTENTS[:50], FREE[:50]) == split()[:50]).all()


def test_a_larger_validation_takes_from_training_alone() -> None:
    more = split_by_content(CONTENTS, FREE, val_fraction=0.3, test_fraction=0.2, seed=0)
    assert ((more == "test") == (split() == "test")).all()
    assert (more[split() == "val"] == "val").all()


def test_another_seed_splits_otherwise() -> None:
    assert 0.02 < ((split() == "test") & (split(seed=1) == "test")).mean() < 0.06


def test_given_splits_stay_and_validation_is_cut_from_training() -> None:
    given = np.array(["test", "train"] * 10_000)
    places = split(given=given)
    assert ((places == "test") == (given == "test")).all()
    assert (places == "val").mean() == pytest.approx(0.05, abs=0.01)


def test_a_test_split_is_cut_where_only_validation_is_given() -> None:
    given = np.array(["val", "train"] * 10_000)
    places = split(given=given)
    assert ((places == "val") == (given == "val")).all()
    assert (places == "test").mean() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("keys", [None, CONTENTS[:300]])
def test_few_of_each_are_at_most_so_many(keys: np.ndarray | None) -> None:
    labels = np.repeat([0, 1, 2], [200, 95, 5])
    chosen = few_of_each(labels, keys, count=20, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [20, 20, 5]
    assert (few_of_each(labels, keys, count=10, seed=0) <= chosen).all()
    assert few_of_each(labels, keys, count=None, seed=0).all()
