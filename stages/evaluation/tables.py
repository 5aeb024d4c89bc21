"""Tables of what a classifier got right and wrong."""

import numpy as np
import pandas as pd

from stages.scoring.intervals import wilson_interval


def confusion_counts(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """How often class i was taken for class j, int64 (classes, classes) at [i, j]."""
    return np.bincount(classes * labels + predictions, minlength=classes * classes).reshape(classes, classes)


def confusion_table(counts: np.ndarray, names: list[str]) -> pd.DataFrame:
    """One line for each pair of classes, those that never met too: actual, predicted, count."""
    pairs = pd.MultiIndex.from_product([names, names], names=["actual", "predicted"])
    return pd.DataFrame({"count": counts.ravel()}, index=pairs).reset_index()


def class_table(counts: np.ndarray, names: list[str]) -> pd.DataFrame:
    """One line a class: class, precision, recall, f1, recall's 95 % interval (fractions, 6 digits), images.

    A class that was never predicted has precision 0, one without images recall 0, and both f1 0.
    """
    hits, predicted, images = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    scores = {
        "precision": _ratio(hits, predicted),
        "recall": _ratio(hits, images),
        "f1": _ratio(2 * hits, predicted + images),  # the harmonic mean of the two, free of their zeros
    }
    low, high = np.array(
        [wilson_interval(hit / max(1, count), count) for hit, count in zip(hits, images, strict=True)]
    ).T
    interval = {"recall_low": low.round(6), "recall_high": high.round(6)}
    return pd.DataFrame({"class": names, **scores, **interval, "images": images})


def prediction_table(samples: pd.DataFrame, probabilities: np.ndarray, names: list[str]) -> pd.DataFrame:
    """One line an image: id, path, label, prediction, confidence, and `p_` each class; probabilities (N, classes)."""
    best = probabilities.argmax(axis=1)
    answers = samples[["id", "path", "label"]].assign(
        prediction=np.array(names, dtype=object)[best], confidence=probabilities.max(axis=1)
    )
    each = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in names], index=samples.index)
    return pd.concat([answers, each], axis=1)


def most_confident_mistakes(labels: np.ndarray, probabilities: np.ndarray, count: int) -> np.ndarray:
    """Positions of at most `count` wrong predictions, the most probable first; of equal ones the earlier first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    confidence = probabilities[wrong].max(axis=1)
    return wrong[np.argsort(-confidence, kind="stable")[:count]]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0).round(6)
