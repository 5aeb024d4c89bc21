"""Splits of own images: every class has what it needs, fractions are kept, and little moves when images are added."""

import math

import numpy as np
import pytest

from imageclf.images.dataset import SPLITS
from imageclf.images.manifest import GIVEN
from imageclf.images.splits import NONE, few_of_each, find_units, split_units
from imageclf.randomness import random_bits, random_integers

CONTENTS = random_bits(7, np.arange(20_000))
CASES = [(seed, int(count)) for seed, count in enumerate(random_integers(150, 3, np.arange(120)) + 1)]  # seed, images


def split(
    contents: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    given: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    seed: int = 0,
    val: float = 0.1,
    test: float = 0.2,
    fold: tuple[int, int] | None = None,
) -> np.ndarray:
    unit, key = units(contents, np.full(len(contents), "") if groups is None else groups)
    labels = np.zeros(len(contents), int) if labels is None else labels
    places = np.full(len(contents), NONE) if given is None else np.array([GIVEN.index(word) for word in given])
    fractions = {"val_fraction": val, "test_fraction": test}
    return np.array(SPLITS)[split_units(unit, key, places, labels, **fractions, seed=seed, fold=fold).split]


def units(contents: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    names = [name for name in dict.fromkeys(groups.tolist()) if name]
    return find_units(contents, np.array([names.index(name) if name else -1 for name in groups]), names)


def counts(places: np.ndarray) -> tuple[int, int, int]:
    return tuple(int((places == name).sum()) for name in ("train", "val", "test"))  # type: ignore[return-value]


@pytest.mark.parametrize(("test", "val"), [(0.2, 0.1), (0.1, 0.1), (0.01, 0.001), (0.5, 0.4), (0.9, 0.09), (0.3, 0.3)])
def test_every_class_has_what_it_needs(test: float, val: float) -> None:
    for count in [*range(1, 40), 60, 100, 300]:
        for seed in range(10):
            train, validated, tested = counts(split(CONTENTS[:count], seed=seed, test=test, val=val))
            assert train >= 1
            assert tested >= (count >= 2)
            assert validated >= (count >= 3)


def test_a_split_that_is_not_asked_for_gets_nothing() -> None:
    for count in range(1, 60):
        assert counts(split(CONTENTS[:count], seed=count, val=0.0))[1] == 0
        assert counts(split(CONTENTS[:count], seed=count, test=0.0))[2] == 0
        assert counts(split(CONTENTS[:count], seed=count, test=0.0))[1] >= (count >= 3)


def test_fractions_are_off_by_less_than_an_image_and_two_percent() -> None:
    for count in [*range(10, 120), 200, 500, 2000]:
        for seed in range(10):
            _, validated, tested = counts(split(CONTENTS[:count], seed=seed))
            assert abs(tested - 0.2 * count) < 1 + 0.02 * count
            assert abs(tested + validated - 0.3 * count) < 1 + 0.02 * count


def test_a_large_class_is_left_to_chance() -> None:
    large = {counts(split(CONTENTS, seed=seed))[2] for seed in range(5)}
    assert len(large) == 5 and all(abs(tested - 4000) < 200 for tested in large)
    place = random_bits(0, CONTENTS) / 2.0**64
    assert ((split(CONTENTS) == "test") == (place < 0.2)).all()


def test_an_image_more_moves_at_most_two_one_over_each_border() -> None:
    for seed in range(12):
        before = split(CONTENTS[:1], seed=seed)
        for count in range(2, 100):
            after = split(CONTENTS[:count], seed=seed)
            assert ((after[:-1] == "test") != (before == "test")).sum() <= 1
            assert ((after[:-1] == "train") != (before == "train")).sum() <= 1
            before = after


@pytest.mark.parametrize("more", [1, 5, 30])
def test_images_more_move_at_most_twice_their_number_and_few_in_fact(more: int) -> None:
    moved = []
    for seed, count in CASES:
        before, after = split(CONTENTS[:count], seed=seed), split(CONTENTS[: count + more], seed=seed)
        moved.append(int((after[:count] != before).sum()))
    assert max(moved) <= 2 * more
    assert np.mean(moved) < 0.5 * more


def test_nothing_moves_in_a_class_of_thousands() -> None:
    for seed in range(5):
        assert (split(CONTENTS, seed=seed)[:10_000] == split(CONTENTS[:10_000], seed=seed)).all()


def test_another_class_moves_no_image() -> None:
    for seed, count in CASES:
        labels = np.repeat([0, 1], [count, 30])
        both = split(CONTENTS[: count + 30], labels, seed=seed)
        assert (both[:count] == split(CONTENTS[:count], seed=seed)).all()


def test_order_does_not_matter_and_another_seed_splits_otherwise() -> None:
    for seed, count in CASES:
        assert (split(CONTENTS[:count][::-1], seed=seed)[::-1] == split(CONTENTS[:count], seed=seed)).all()
    assert 0.02 < ((split(CONTENTS) == "test") & (split(CONTENTS, seed=1) == "test")).mean() < 0.06


def test_a_larger_validation_takes_from_training_alone() -> None:
    for seed, count in CASES:
        some, more = (split(CONTENTS[:count], seed=seed, val=val) for val in (0.1, 0.3))
        assert ((more == "test") == (some == "test")).all()
        assert (more[some == "val"] == "val").all()


def test_copies_go_together_and_count_once() -> None:
    for seed, count in CASES:
        places = split(np.repeat(CONTENTS[:count], 3), seed=seed).reshape(count, 3)
        assert (places == places[:, :1]).all()
        assert (places[:, 0] == split(CONTENTS[:count], seed=seed)).all()


def test_given_splits_stay_and_the_others_are_cut_from_the_rest() -> None:
    for word, other, fraction in (("test", "val", 0.1), ("val", "test", 0.2)):
        given = np.array([word, "train"] * 500)
        places = split(CONTENTS[:1000], given=given)
        assert ((places == word) == (given == word)).all()
        assert (places == other).sum() == pytest.approx(fraction * 500, abs=11)
    given = np.array(["test", *["train"] * 10, "val", *["train"] * 18])
    assert (split(CONTENTS[:30], np.arange(30) // 11, given=given) == given).all()


def named(numbers: np.ndarray) -> np.ndarray:
    return np.array([f"g{number}" for number in numbers])


def test_groups_go_whole_and_are_dealt_like_images() -> None:
    for seed, count in CASES:
        groups = named(np.repeat(np.arange(count), np.arange(count) % 4 + 1))
        places = split(CONTENTS[: len(groups)], groups=groups, seed=seed)
        first = np.unique(groups, return_index=True)[1]
        assert all(len(set(places[groups == group])) == 1 for group in set(groups))
        _, validated, tested = counts(places[first])
        assert tested >= (count >= 2) and validated >= (count >= 3)
        assert abs(tested - 0.2 * count) < 1 + 0.02 * count or tested == 1


def test_an_image_more_in_a_group_moves_nothing() -> None:
    for seed, count in CASES:
        groups = named(np.arange(count + 40) % count)
        after = split(CONTENTS[: count + 40], groups=groups, seed=seed)
        assert (after[:count] == split(CONTENTS[:count], groups=groups[:count], seed=seed)).all()


def test_copies_join_groups_and_groups_join_copies() -> None:
    contents = CONTENTS[[0, 1, 1, 2, 3, 3, 4, 5]]
    unit, key = units(contents, np.array(["a", "a", "b", "b", "c", "", "", ""]))
    assert unit.tolist() == [0, 0, 0, 0, 1, 1, 2, 3]
    assert key[2:].tolist() == CONTENTS[[4, 5]].tolist()
    swapped = units(contents[::-1], np.array(["a", "a", "b", "b", "c", "", "", ""])[::-1])
    assert (swapped[1][swapped[0]][::-1] == key[unit]).all()


def test_a_group_follows_its_given_image() -> None:
    groups, given = np.array(["a", "a", *[""] * 30]), np.array(["test", *[""] * 31])
    assert split(CONTENTS[:32], groups=groups, given=given).tolist().count("test") == 2


def test_groups_with_all_classes_give_every_class_to_every_split() -> None:
    for seed in range(40):
        groups, labels = named(np.repeat(np.arange(10), 5)), np.arange(50) % 5
        places = split(CONTENTS[:50], labels, groups=groups, seed=seed)
        for label in range(5):
            assert {"train", "val", "test"} == set(places[labels == label])
        assert counts(places)[2] in (5, 10, 15)


@pytest.mark.parametrize(("classes", "several"), [(3, 0.3), (6, 0.5), (20, 0.2), (30, 0.5)])
def test_groups_of_several_classes_go_whole_and_leave_training_to_every_class(classes: int, several: float) -> None:
    for seed in range(30):
        holds = random_bits(seed, np.arange(12)[:, None], np.arange(classes)) / 2.0**64 < several
        holds[np.arange(classes) % 12, np.arange(classes)] = True
        group, labels = np.nonzero(holds)
        places = split(CONTENTS[: len(group)], labels, groups=named(group), seed=seed)
        assert all(len(set(places[group == at])) == 1 for at in range(12) if at in group)
        assert all("train" in places[labels == label] for label in range(classes))


def folded(folds: int, contents: np.ndarray, labels: np.ndarray | None = None, **given: np.ndarray) -> list[np.ndarray]:
    return [split(contents, labels, fold=(number, folds), **given) for number in range(folds)]  # type: ignore[arg-type]


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
def test_every_image_is_in_the_test_of_one_fold_and_every_fold_trains_on_every_class(folds: int) -> None:
    for count in [*range(2, 40), 100, 1000]:
        dealt = folded(folds, CONTENTS[:count])
        assert (sum((places == "test").astype(int) for places in dealt) == 1).all()
        tested = [counts(places)[2] for places in dealt]
        assert max(tested) - min(tested) <= 1
        for train, validated, _ in map(counts, dealt):
            assert train >= 1
            assert validated >= (count >= 4)
    assert all(counts(places) == (1, 0, 0) for places in folded(folds, CONTENTS[:1]))


def test_folds_of_many_small_classes_are_alike_in_size() -> None:
    labels = np.arange(600) // 3
    for dealt in folded(5, CONTENTS[:600], labels=labels):
        assert counts(dealt)[2] == 120


def test_a_fold_takes_groups_and_copies_whole_and_leaves_given_validation_alone() -> None:
    groups, labels = named(np.arange(400) // 4), np.arange(400) // 8 % 5
    given = np.where(np.arange(400) < 40, "val", "")
    contents = CONTENTS[np.maximum(np.arange(400) - np.arange(400) % 7 // 6, 0)]  # some are copies of their neighbour
    unit = units(contents, groups)[0]
    dealt = folded(4, contents, groups=groups, labels=labels, given=given)
    for places in dealt:
        assert all(len(set(places[unit == number])) == 1 for number in np.unique(unit))
        assert (places[:40] == "val").all()
    free = np.isin(unit, unit[:40], invert=True)
    assert (sum((places == "test").astype(int) for places in dealt)[free] == 1).all()


@pytest.mark.parametrize("several", [0.2, 0.5])
def test_groups_of_several_classes_are_in_the_test_of_one_fold_at_most(several: float) -> None:
    groups = named(np.arange(1000) // 5)
    mixed = np.isin(groups, groups[: int(1000 * several)])
    labels = np.where(mixed, np.arange(1000) % 7, np.arange(1000) // 5 % 7)
    dealt = folded(5, CONTENTS[:1000], groups=groups, labels=labels)
    tested = sum((places == "test").astype(int) for places in dealt)
    assert (tested <= 1).all()
    assert (tested == 1).mean() > 0.97
    assert all(set(labels[places == "train"]) == set(range(7)) for places in dealt)


def test_nothing_to_split_is_no_error() -> None:
    assert len(split(CONTENTS[:0])) == 0
    assert math.prod(counts(split(CONTENTS[:1]))) == 0


@pytest.mark.parametrize("keys", [None, CONTENTS[:300]])
def test_few_of_each_are_at_most_so_many(keys: np.ndarray | None) -> None:
    labels = np.repeat([0, 1, 2], [200, 95, 5])
    chosen = few_of_each(labels, keys, count=20, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [20, 20, 5]
    assert (few_of_each(labels, keys, count=10, seed=0) <= chosen).all()
    assert few_of_each(labels, keys, count=None, seed=0).all()
