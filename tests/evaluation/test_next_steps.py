"""The report suggests what its figures carry, and nothing where they carry nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from imageclf.evaluation.next_steps import curve_words, next_steps
from imageclf.evaluation.scores import wilson_interval
from imageclf.evaluation.tables import class_table

NAMES = ["ant", "bee", "cat"]


def steps(
    confusion: list[list[int]],
    history: Sequence[tuple[float, float]] = ((0.9, 0.9), (0.9, 0.9)),
    *,
    validated: int = 5000,
    fresh: bool = True,
) -> str:
    counts = np.array(confusion)
    right, images = int(counts.trace()), int(counts.sum())
    low, high = wilson_interval(right, images)
    scores: dict[str, Any] = {"top1": right / images, "top1_low": low, "top1_high": high}
    table = pd.DataFrame(history, columns=["train_top1", "val_top1"])
    found = next_steps(
        scores,
        classes=class_table(counts, NAMES),
        confusion=counts,
        names=NAMES,
        history=table,
        validated=validated,
        fresh=fresh,
    )
    return " | ".join(found)


def test_without_a_mistake_there_is_nothing_to_better() -> None:
    assert steps([[500, 0, 0], [0, 500, 0], [0, 0, 500]]) == ""


def test_pretrained_weights_are_advised_where_there_were_none() -> None:
    overfit = [(0.8, 0.7), (0.99, 0.7)]
    for fresh in (True, False):
        said = steps([[500, 0, 0], [0, 500, 0], [0, 0, 500]], overfit, fresh=fresh)
        assert "more images" in said
        assert ("pretrained weights" in said) == fresh


def test_few_test_images_lead_to_cross_validation() -> None:
    assert steps([[9, 1, 0], [0, 10, 0], [0, 0, 10]]).startswith(
        "The test images are few: python -m tools.cross_validate"
    )
    assert "cross_validate tests" not in steps([[900, 100, 0], [0, 1000, 0], [0, 0, 1000]])


@pytest.mark.parametrize(("right", "named"), [(95, False), (60, True)])
def test_a_class_is_called_weak_only_beyond_chance(right: int, named: bool) -> None:
    said = steps([[right, 100 - right, 0], [3, 97, 0], [2, 1, 97]])
    assert ("ant is recognised least" in said) == named


def test_the_most_frequent_confusion_is_named_with_its_count() -> None:
    assert "cat is taken for bee most often, 30 times of 100" in steps([[98, 1, 1], [2, 98, 0], [1, 30, 69]])
    assert "most often" not in steps([[99, 1, 0], [0, 100, 0], [0, 0, 100]])


@pytest.mark.parametrize(
    ("history", "words"),
    [
        ([(0.8, 0.7), (0.99, 0.75)], "Training knows 99.0 % of its own images and 75.0 % of validation"),
        ([(0.6, 0.6), (0.6, 0.61), (0.6, 0.62), (0.6, 0.63), (0.6, 0.65)], "Validation still gained 2.0 points"),
        ([(0.6, 0.6), (0.7, 0.7), (0.72, 0.72), (0.73, 0.73), (0.73, 0.73)], ""),
        ([(0.9, float("nan")), (0.99, float("nan"))], ""),
    ],
)
def test_the_end_of_training_says_whether_more_of_it_helps(history: list[tuple[float, float]], words: str) -> None:
    said = steps([[500, 0, 0], [0, 500, 0], [0, 0, 500]], history)
    assert said.startswith(words) if words else said == ""


@pytest.mark.parametrize("history", [[(0.8, 0.8), (0.91, 0.8)], [(0.6, 0.6), (0.6, 0.6), (0.6, 0.65)]])
def test_few_validation_images_say_nothing_of_the_end_of_training(history: list[tuple[float, float]]) -> None:
    certain = [[500, 0, 0], [0, 500, 0], [0, 0, 500]]
    assert steps(certain, history, validated=1000)
    assert steps(certain, history, validated=20) == ""


def test_training_below_validation_is_explained_and_only_then() -> None:
    table = pd.DataFrame({"train_top1": [0.5, 0.8], "val_top1": [0.6, 0.9]})
    assert "augmented" in curve_words(table)
    assert curve_words(table.rename(columns={"train_top1": "val_top1", "val_top1": "train_top1"})) == ""
    assert curve_words(table.drop(columns="val_top1")) == ""
