"""The confusion matrix, the scores of each class, and the predictions, as tables."""

import numpy as np
import pandas as pd

from imageclf.evaluation.scores import wilson_interval

EVERY_PAIR = 30  # classes; with more, confusion.csv has only the most frequent confusions
MOST_PAIRS = 1000  # rows of confusion.csv then, at most
EVERY_CLASS = 100  # classes; with more, predictions.csv has only the best ones
BEST = 5  # classes per image then


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


def prediction_table(samples: pd.DataFrame, probabilities: np.ndarray, names: list[str]) -> pd.DataFrame:
    """One row per image: id, path, label, prediction, confidence, and `p_CLASS` for each class.

    `probabilities` is (N, classes). With more than 100 classes the `p_` columns give way to label_probability and the
    next best classes: answer_2, probability_2 to answer_5, probability_5.
    """
    named, best = np.array(names, dtype=object), probabilities.argmax(axis=1)
    answers = samples[["id", "path", "label"]].assign(prediction=named[best], confidence=probabilities.max(axis=1))
    if len(names) > EVERY_CLASS:
        places, every = {name: place for place, name in enumerate(names)}, np.arange(len(samples))
        answers["label_probability"] = probabilities[every, [places[name] for name in samples["label"]]]
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :BEST]
        for rank in range(2, BEST + 1):
            place = order[:, rank - 1]
            answers[f"answer_{rank}"] = named[place]
            answers[f"probability_{rank}"] = probabilities[every, place]
        return answers
    each = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in names], index=samples.index)
    return pd.concat([answers, each], axis=1)


def most_confident_mistakes(labels: np.ndarray, probabilities: np.ndarray, count: int) -> np.ndarray:
    """Positions of at most `count` wrong predictions, the most confident first; ties keep their order."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    confidence = probabilities[wrong].max(axis=1)
    return wrong[np.argsort(-confidence, kind="stable")[:count]]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0).round(6)
