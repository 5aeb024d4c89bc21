"""The confusion matrix and the scores of each class, as tables."""

import numpy as np
import pandas as pd

from imageclf.evaluation.scores import wilson_interval

EVERY_PAIR = 30  # classes; with more, confusion.csv has only the most frequent confusions
MOST_PAIRS = 1000  # rows of confusion.csv then, at most


def confusion_counts(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """The confusion matrix, int64 (classes, classes): actual class in rows, predicted in columns."""
    return np.bincount(classes * labels + predictions, minlength=classes * classes).reshape(classes, classes)


def confusion_table(counts: np.ndarray, names: list[str]) -> pd.DataFrame:
    """One row for each pair of classes, zeros included: actual, predicted, count.

    With more than 30 classes: the 1,000 most frequent confusions, and the actual class's `images`.
    """
    if len(names) <= EVERY_PAIR:
        pairs = pd.MultiIndex.from_product([names, names], names=["actual", "predicted"])
        return pd.DataFrame({"count": counts.ravel()}, index=pairs).reset_index()
    actual, predicted = worst_pairs(counts, MOST_PAIRS)
    named = np.array(names, dtype=object)
    return pd.DataFrame(
        {
            "actual": named[actual],
            "predicted": named[predicted],
            "count": counts[actual, predicted],
            "images": counts.sum(axis=1)[actual],
        }
    )


def worst_pairs(counts: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The actual and predicted classes of the `most` most frequent confusions, in that order."""
    actual, predicted = np.nonzero(counts)
    wrong = actual != predicted
    actual, predicted = actual[wrong], predicted[wrong]
    order = np.argsort(-counts[actual, predicted], kind="stable")[:most]
    return actual[order], predicted[order]


def class_table(counts: np.ndarray, names: list[str]) -> pd.DataFrame:
    """One row per class: class, precision, recall, f1, recall's 95 % interval (fractions, 6 digits), images.

    A fraction of nothing is nan: the precision of a class that was never predicted, the recall of a class without
    images, and f1 if both are nan.
    """
    hits, predicted, images = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    scores = {
        "precision": _ratio(hits, predicted),
        "recall": _ratio(hits, images),
        "f1": _ratio(2 * hits, predicted + images),  # the harmonic mean of the two, defined if one is nan
    }
    low, high = np.array(
        [wilson_interval(hit, count) if count else (np.nan, np.nan) for hit, count in zip(hits, images, strict=True)]
    ).T
    interval = {"recall_low": low.round(6), "recall_high": high.round(6)}
    return pd.DataFrame({"class": names, **scores, **interval, "images": images})


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0).round(6)
