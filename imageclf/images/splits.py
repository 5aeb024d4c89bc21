"""Assign images to splits."""

import hashlib
import math
from typing import NamedTuple

import numpy as np

from imageclf.images.dataset import SPLITS
from imageclf.randomness import permutation, random_bits

TRAIN, VAL, TEST, NONE = range(4)  # places in SPLITS, and none of them
CHOSEN = 1  # the random stream of per_class, separate from that of the splits
LEAST = {"test": 2, "val": 3}  # units of a class that guarantee it one there
SLACK = 0.02  # of a class's units: how far chance may move a border between splits


class Dealt(NamedTuple):
    """The split of each image, int8 (N,), as its place in SPLITS, and the number of the fold that tests it, or -1."""

    split: np.ndarray
    fold: np.ndarray


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


def find_units(contents: np.ndarray, group: np.ndarray, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Join images that must stay together: of equal content, of one group, and through others.

    In: hashes of the contents uint64 (N,), the number of each image's group (N,), -1 for an image alone, and the
    groups' names. Out: the number of each image's unit (N,), and a key of each unit uint64 (U,) that stays the same
    when images join it: the smallest hash of its groups' names, or else its content.
    """
    different, copies = np.unique(contents, return_inverse=True)
    copies = copies.astype(np.int32)
    named = group >= 0
    if not named.any():
        return copies, different
    number, group = group, np.where(named, group, len(names) + copies)
    unit = np.arange(len(contents))
    while True:
        before = unit
        for tie in (copies, group):
            lowest = np.full(tie.max() + 1, len(unit))
            np.minimum.at(lowest, tie, unit)
            unit = lowest[tie]
        if (unit == before).all():
            break
    unit = np.unique(unit, return_inverse=True)[1]
    keys = np.array([_hash(name) for name in names], np.uint64)[number]
    key = np.full(unit.max() + 1, np.iinfo(np.uint64).max)
    np.minimum.at(key, unit[named], keys[named])
    grouped = np.isin(unit, unit[named])
    key[unit[~grouped]] = contents[~grouped]
    return unit, key


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8])


def split_units(
    unit: np.ndarray,
    key: np.ndarray,
    given: np.ndarray,
    labels: np.ndarray,
    *,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    fold: tuple[int, int] | None = None,
) -> Dealt:
    """Assign N images to splits.

    In: the unit of each image (N,) and the units' keys (U,), the place of given splits (N,), NONE for an image without
    one, and labels (N,).

    A unit is a picture with its copies, or a group. It goes to one split whole, by a random place in [0, 1) that
    depends only on its key and the seed: the lowest are for the test, the next for validation. Fractions count units.

    - A class of two units or more has a test unit, of three or more a validation unit; one always stays in training.
    - Else chance decides, unless it strays: the numbers of test units, and of test and validation units together, are
      off by less than one unit plus 2 % of the class.
    - A unit more moves at most two others, one over each border, and none of another class.

    This holds if each unit has one class. Units of several classes are dealt with the rarest of these, and the other
    classes take what is left: a unit more may then move units of other classes, and a class may lack one to test.

    A unit with an image that is given to validation or test goes there; the others are dealt.

    With a `fold`, its number from 0 and of how many, the test split is this part of the units instead: each unit is in
    the test of exactly one fold, or of none if its class has no other to train on.
    """
    fractions = {
        TEST: 0.0 if (given == TEST).any() else test_fraction,
        VAL: 0.0 if (given == VAL).any() else val_fraction,
    }
    place = random_bits(seed, key)
    split, fold_of = np.full(len(key), NONE, np.int8), np.full(len(key), -1, np.int8)
    for held in (VAL, TEST):
        split[unit[given == held]] = held
    by_class = sorted(enumerate(_by_class(unit, labels, len(key))), key=lambda its: len(its[1]))
    classes = {label: members[split[members] == NONE] for label, members in by_class}
    classes = {label: members[np.argsort(place[members])] for label, members in classes.items() if len(members)}
    for label, members in classes.items():
        if fold:
            _deal_fold(split, fold_of, members, fold, label, fractions[VAL])
        else:
            _deal(split, members, place, fractions)
    for members in classes.values():
        if not (split[members] == TRAIN).any():  # rarer classes took all of its units elsewhere
            split[members[-1]] = TRAIN
    return Dealt(split[unit], fold_of[unit])


def _by_class(unit: np.ndarray, labels: np.ndarray, units: int) -> list[np.ndarray]:
    """The units of each class, in the order of the classes' names."""
    names, pairs = np.unique(labels, return_inverse=True)
    pairs *= units  # in place: this is where prepare needs most memory
    pairs += unit
    pairs = np.unique(pairs)
    borders = np.searchsorted(pairs, np.arange(1, len(names)) * units)
    pairs %= max(units, 1)
    return np.split(pairs, borders)


def _deal(split: np.ndarray, its: np.ndarray, place: np.ndarray, fractions: dict[int, float]) -> None:
    """Set the `split` of those of a class's units, in the order of their places, that have none yet."""
    free = its[split[its] == NONE]
    trained = bool((split[its] == TRAIN).any())
    taken = 0
    for name, wanted in _counts(place[its] / 2.0**64, fractions).items():
        missing = max(wanted - int((split[its] == name).sum()), 0)
        count = min(missing, max(len(free) - taken - (not trained), 0))
        split[free[taken : taken + count]] = name
        taken += count
    split[free[taken:]] = TRAIN


def _deal_fold(
    split: np.ndarray, fold_of: np.ndarray, its: np.ndarray, fold: tuple[int, int], label: int, val_fraction: float
) -> None:
    """As `_deal`, with a fold as the test. Of the units that follow it, in a circle, the first are for validation."""
    number, folds = fold
    free = its[split[its] == NONE]
    # Shifted by the class: of many small classes, not all have their test units in the same fold.
    borders = [(len(free) * border + label % folds) // folds for border in range(folds + 1)]
    fold_of[free] = np.repeat(np.arange(folds), np.diff(borders))
    begin, end = borders[number : number + 2]
    others = np.concatenate([free[end:], free[:begin]])
    if not len(others) and not (split[its] == TRAIN).any():
        begin, others = end, free
    least = int(val_fraction > 0 and len(free) >= LEAST["val"])
    count = min(max(round(val_fraction * len(free)), least), max(len(others) - 1, 0))
    split[free[begin:end]] = TEST
    split[others[:count]] = VAL
    split[others[count:]] = TRAIN


def _counts(places: np.ndarray, fractions: dict[int, float]) -> dict[int, int]:
    """How many of a class's units each split gets, by their places (n,) in [0, 1)."""
    number = len(places)
    least = {name: int(fraction > 0 and number >= LEAST[SPLITS[name]]) for name, fraction in fractions.items()}
    room = number - 1 - sum(least.values())  # one stays in training
    counts, until, border = {}, 0.0, 0
    for name, fraction in fractions.items():
        until, room, before = until + fraction, room + least[name], border
        if fraction:
            lowest, highest = (round((until + slack) * number, 6) for slack in (-SLACK, SLACK))  # 8.000000001 is 8
            kept = min(max(int((places < until).sum()), math.floor(lowest)), math.ceil(highest))
            border = min(max(kept, before + least[name]), room)
        counts[name] = border - before
    return counts


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
