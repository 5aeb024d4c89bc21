"""What to try next, from the scores of a run: sentences for the report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from imageclf.evaluation.metrics import FEW
from imageclf.evaluation.scores import wilson_interval
from imageclf.evaluation.tables import worst_pairs

GAP = 0.1  # top-1 on training images above that on validation, from which more of the same training is of no use
GAIN = 0.005  # top-1 on validation gained in the last fifth of the epochs, from which more epochs are worth a try
COUNTED = 10  # images of a class, in a range of probabilities, or gained; nothing is said of fewer


def next_steps(
    scores: Mapping[str, Any],
    *,
    classes: pd.DataFrame,
    confusion: np.ndarray,
    names: Sequence[str],
    history: pd.DataFrame,
    validated: int,
    fresh: bool,
) -> list[str]:
    """The steps that the scores suggest, what helps most first; none if there is nothing to better.

    `classes` is metrics/per_class.csv, `confusion` (classes, classes), and `history` metrics/history.csv, with scores
    on `validated` images. `fresh`: the network began from random weights.
    """
    steps = []
    if scores["top1_high"] - scores["top1_low"] > FEW:
        steps.append(
            "The test images are few: python -m tools.cross_validate tests every image, and tells smaller differences"
        )
    if scores["top1"] < 1:
        steps.append(
            "Look at the most confident mistakes below: some may be wrong labels, which python -m tools.label_errors "
            "lists after a cross-validation"
        )
    return steps + _of_classes(scores, classes, confusion, names) + _of_training(history, validated, fresh)


def _of_classes(
    scores: Mapping[str, Any], classes: pd.DataFrame, confusion: np.ndarray, names: Sequence[str]
) -> list[str]:
    """On the class that is told least, if that is more than chance, and the two that are confused most."""
    steps = []
    weak = classes[(classes["recall_high"] < scores["top1_low"]) & (classes["images"] >= COUNTED)]
    if len(weak):
        row = weak.loc[weak["recall"].idxmin()]
        steps.append(
            f"{row['class']} is recognised least, on {100 * row['recall']:.1f} % of its {row['images']:,} test images: "
            "add training images of it"
        )
    for actual, predicted in zip(*worst_pairs(confusion, 1), strict=True):
        count, of = confusion[actual, predicted], confusion[actual].sum()
        if of >= COUNTED and count > 1:
            steps.append(
                f"{names[actual]} is taken for {names[predicted]} most often, {count:,} times of {of:,}: add images "
                "that show the difference, or ask whether the two are one class"
            )
    return steps


def _of_training(history: pd.DataFrame, validated: int, fresh: bool) -> list[str]:
    """On training that fits its images far better than others, beyond chance, or that ended early."""
    if "val_top1" not in history or len(history) < 2 or history["val_top1"].isna().any():
        return []
    last = history.iloc[-1]
    _, val_high = wilson_interval(round(last["val_top1"] * validated), validated)
    if last["train_top1"] > max(last["val_top1"] + GAP, val_high):
        return [
            f"Training knows {100 * last['train_top1']:.1f} % of its own images and {100 * last['val_top1']:.1f} % of "
            f"validation: more images{', pretrained weights' if fresh else ''} or stronger augmentation help, more "
            "epochs do not"
        ]
    before = history["val_top1"].iloc[: max(1, len(history) * 4 // 5)].max()
    if last["val_top1"] - before > max(GAIN, COUNTED / validated):
        return [
            f"Validation still gained {100 * (last['val_top1'] - before):.1f} points in the last fifth of the epochs: "
            "try more of them (train.epochs)"
        ]
    return []


def curve_words(history: pd.DataFrame) -> str:
    """Why training looks worse than validation in the curves; empty where it does not."""
    if (
        "val_top1" not in history
        or not len(history)
        or not history["train_top1"].iloc[-1] < history["val_top1"].iloc[-1]
    ):
        return ""
    return (
        "Training looks worse than validation because its images are augmented, and because it is scored while the "
        "weights still change; some recipes also leave out images that are easy by then."
    )
