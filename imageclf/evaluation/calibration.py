"""How far to trust a probability: temperature, reliability, coverage."""

import math

import numpy as np
import pandas as pd

from imageclf.evaluation.scores import log_softmax

BINS = 15  # of equal width, as in Guo et al. 2017 (arXiv:1706.04599)
LIMITS = (0.01, 100.0)  # of the temperature
HALVINGS = 40  # of the logarithm of the limits: they leave an interval of 1e-11


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The number by which logits (N, classes) are divided for the least cross entropy with labels (N,), 6 digits.

    One scalar changes no prediction (arXiv:1706.04599, section 4.2). The cross entropy is convex in 1 / temperature, so
    bisection on the sign of its slope finds the least, the same bits every time. Within 0.01 to 100: where no image is
    a mistake the least is at 0.
    """
    shifted = (logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
    own = shifted[np.arange(len(labels)), labels]
    low, high = (math.log(limit) for limit in LIMITS)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        weights = np.exp(shifted / math.exp(middle))
        expected = (weights * shifted).sum(axis=1) / weights.sum(axis=1)
        # The slope in 1 / temperature: above 0, the answers are too sure.
        if (expected - own).sum() > 0:
            low = middle
        else:
            high = middle
    return round(math.exp((low + high) / 2), 6)


def calibrated(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Class probabilities float64 (N, classes) at a temperature."""
    return np.exp(log_softmax(logits.astype(np.float64) / temperature))


def reliability_table(probabilities: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """A line for each of 15 bins with images in it: lower, upper, confidence, accuracy (fractions), images.

    An image is in the bin of its best probability, lower < p <= upper; confidence is the mean of those.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    images = np.bincount(place, minlength=BINS)
    filled = np.flatnonzero(images)
    sums = {
        "confidence": np.bincount(place, confidence, BINS)[filled],
        "accuracy": np.bincount(place, right, BINS)[filled],
    }
    means = {name: total / images[filled] for name, total in sums.items()}
    return pd.DataFrame({"lower": filled / BINS, "upper": (filled + 1) / BINS, **means, "images": images[filled]})


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Mean distance of accuracy and confidence over the images of a reliability table, a fraction."""
    gaps = (table["accuracy"] - table["confidence"]).abs() * table["images"]
    return float(gaps.sum() / table["images"].sum())


POINTS = 100  # lines of a coverage table, at most


def coverage_table(confidence: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    """Per cent by per cent of the images, the surest first: threshold, coverage, precision (fractions).

    Coverage is the share of images at or above the threshold, precision the share of right answers among them.
    """
    thresholds, answered, correct = _by_threshold(confidence, right)
    wanted = np.arange(1, POINTS + 1) / POINTS * len(confidence)
    shown = np.unique(np.searchsorted(answered, wanted))  # images that are equally sure come together
    return pd.DataFrame(
        {
            "threshold": thresholds[shown],
            "coverage": answered[shown] / len(confidence),
            "precision": correct[shown] / answered[shown],
        }
    )


def choose_threshold(confidence: np.ndarray, right: np.ndarray, precision: float) -> float | None:
    """The lowest threshold at which at least `precision` of the answers are right, None if there is none."""
    thresholds, answered, correct = _by_threshold(confidence, right)
    enough = np.flatnonzero(correct / answered >= precision)
    return float(thresholds[enough[-1]]) if len(enough) else None


def selected(confidence: np.ndarray, right: np.ndarray, threshold: float) -> tuple[int, int]:
    """How many images are at or above the threshold, and how many of those are right."""
    sure = confidence >= threshold
    return int(sure.sum()), int((sure & right).sum())


def _by_threshold(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each confidence that occurs, the highest first; the images at or above it; the right ones among those."""
    thresholds, place = np.unique(-confidence, return_inverse=True)
    answered = np.bincount(place).cumsum()
    correct = np.bincount(place, right).astype(int).cumsum()
    return -thresholds, answered, correct
