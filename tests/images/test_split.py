"""A split by content: fractions are kept, small classes have their images, seeds differ, and what is given stays."""

import numpy as np
import pytest

from imageclf.images.splits import auto_test_fraction, few_of_each, split_by_content
from imageclf.randomness import random_bits

CONTENTS = random_bits(7, np.arange(20_000))
FREE = np.full(20_000, "")


def split(
    contents: np.ndarray = CONTENTS,
    given: np.ndarray = FREE,
    labels: np.ndarray | None = None,
    *,
    seed: int = 0,
    val: float = 0.1,
    test: float = 0.2,
) -> np.ndarray:
    labels = np.zeros(len(contents), int) if labels is None else labels
    return split_by_content(contents, given[: len(contents)], labels, val_fraction=val, test_fraction=test, seed=seed)


def test_each_split_gets_its_share_up_to_chance() -> None:
    places = split()
    for name, fraction in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        assert (places == name).mean() == pytest.approx(fraction, abs=0.015)


def test_neither_order_nor_neighbours_matter() -> None:
    assert (split(CONTENTS[::-1], FREE) == split()[::-1]).all()
    assert (split(CONTENTS[:50], FREE[:50]) == split()[:50]).all()
    assert (split(CONTENTS[:20][::-1]) == split(CONTENTS[:20])[::-1]).all()


def test_a_larger_validation_takes_from_training_alone() -> None:
    more = split(val=0.3)
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


@pytest.mark.parametrize("images", [60, 61, 100, 300])
@pytest.mark.parametrize("classes", [2, 5, 12])
def test_few_images_have_what_they_need_with_any_seed(images: int, classes: int) -> None:
    labels = np.arange(images) % classes
    for seed in range(60):
        places = split(CONTENTS[:images], labels=labels, seed=seed)
        assert "test" in places
        for label in range(classes):
            its = places[labels == label]
            assert "train" in its
            assert "test" in its or len(its) < 8
            assert "val" in its or len(its) < 25


def test_copies_go_together_and_count_once() -> None:
    contents = np.repeat(CONTENTS[:9], 4)
    for seed in range(100):
        places = split(contents, seed=seed).reshape(9, 4)
        assert (places == places[:, :1]).all()
        assert "test" in places
        assert np.isin(split(np.repeat(CONTENTS[:24], 4), seed=seed), "test").sum() in (4 * 4, 4 * 5)


def test_a_class_of_one_image_or_with_hardly_any_for_training_trains_on_one() -> None:
    for seed in range(20):
        assert split(CONTENTS[:1], seed=seed).tolist() == ["train"]
        assert (split(CONTENTS[:30], seed=seed, test=0.9, val=0.0999) == "train").sum() >= 1


def test_nothing_goes_where_nothing_is_asked_for_or_all_is_given() -> None:
    for seed in range(50):
        assert "val" not in split(CONTENTS[:40], seed=seed, val=0.0)
        assert "test" not in split(CONTENTS[:40], seed=seed, test=0.0)
        given = np.array(["test", *["train"] * 10, "val", *["train"] * 18])
        assert (split(CONTENTS[:30], given, np.arange(30) // 11, seed=seed) == given).all()


@pytest.mark.parametrize(("images", "classes"), [(24, 2), (24, 3), (30, 5), (60, 2), (60, 12), (98, 2)])
def test_a_small_class_gets_its_share_rounded_up_or_down(images: int, classes: int) -> None:
    labels = np.arange(images) % classes
    for seed in range(60):
        places = split(CONTENTS[:images], labels=labels, seed=seed)
        for name, fraction in (("val", 0.1), ("test", 0.2)):
            counts = np.bincount(labels[places == name], minlength=classes)
            assert (abs(counts - fraction * images / classes) < 1).all()


def test_a_large_class_is_left_to_chance() -> None:
    counts = {(split(CONTENTS[:50], seed=seed) == "test").sum() for seed in range(60)}
    assert min(counts) < 9 and max(counts) > 11


def test_an_image_more_moves_few_in_a_small_class_and_none_in_a_large_one() -> None:
    moves: dict[bool, list[int]] = {True: [], False: []}
    for seed in range(40):
        places = split(CONTENTS[:4], seed=seed)
        for count in range(5, 80):
            more = split(CONTENTS[:count], seed=seed)
            if count != 50:  # from here on chance decides
                moves[count < 50].append(int((more[:-1] != places).sum()))
            places = more
    assert max(moves[True]) <= 3 and np.mean(moves[True]) < 0.7
    assert max(moves[False]) <= 1 and np.mean(moves[False]) < 0.01
    for seed in range(40):  # once chance has given to each, nothing moves
        few, many = split(CONTENTS[:100], seed=seed), split(CONTENTS[:1000], seed=seed)
        assert (few == many[:100]).all()


def test_another_class_moves_no_image() -> None:
    labels = np.repeat([0, 1], [10, 30])
    for seed in range(50):
        assert (split(CONTENTS[:40], labels=labels, seed=seed)[:10] == split(CONTENTS[:10], seed=seed)).all()


@pytest.mark.parametrize(("images", "fraction"), [(10, 0.2), (999, 0.2), (1000, 0.1), (10**6, 0.1)])
def test_few_images_give_more_to_the_test(images: int, fraction: float) -> None:
    assert auto_test_fraction(images) == fraction


@pytest.mark.parametrize("keys", [None, CONTENTS[:300]])
def test_few_of_each_are_at_most_so_many(keys: np.ndarray | None) -> None:
    labels = np.repeat([0, 1, 2], [200, 95, 5])
    chosen = few_of_each(labels, keys, count=20, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [20, 20, 5]
    assert (few_of_each(labels, keys, count=10, seed=0) <= chosen).all()
    assert few_of_each(labels, keys, count=None, seed=0).all()
