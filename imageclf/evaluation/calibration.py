"""What to make of an answer: temperature, reliability, coverage, and what is unlike the training images."""

import math

import numpy as np
import pandas as pd

from imageclf.evaluation.scores import chunks_of_rows

BINS = 15  # of equal width, as in Guo et al. 2017 (arXiv:1706.04599)
LIMITS = (0.01, 100.0)  # of the temperature
HALVINGS = 40  # bisection steps on a log scale; the last interval is 1e-11 wide


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature, to 6 digits, that minimises the cross entropy of logits (N, classes) with labels (N,).

    One scalar changes no prediction (arXiv:1706.04599, section 4.2). The cross entropy is convex in 1 / temperature, so
    bisection on the sign of its slope finds the minimum, bit-identical every time. The search stays within 0.01 to
    100: without any mistake the minimum is at 0.
    """
    slopes = np.empty(len(labels))
    low, high = (math.log(limit) for limit in LIMITS)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        for rows in chunks_of_rows(logits):
            slopes[rows] = _slopes(logits[rows], labels[rows], math.exp(middle))
        if slopes.sum() > 0:
            low = middle
        else:
            high = middle
    return round(math.exp((low + high) / 2), 6)


def _slopes(logits: np.ndarray, labels: np.ndarray, temperature: float) -> np.ndarray:
    """The slope of each image's cross entropy in 1 / temperature (N,): above 0, the model is overconfident."""
    shifted = (logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
    weights = np.exp(shifted / temperature)
    return (weights * shifted).sum(axis=1) / weights.sum(axis=1) - shifted[np.arange(len(labels)), labels]


def reliability_table(confidence: np.ndarray, correct: np.ndarray) -> pd.DataFrame:
    """One row for each of 15 bins that has images: lower, upper, confidence, accuracy (fractions), images.

    In: the highest probability of each image (N,), and whether that answer is correct (N,). An image falls in the bin
    of this probability, lower < p <= upper. A bin's confidence is the mean of these.
    """
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    images = np.bincount(place, minlength=BINS)
    filled = np.flatnonzero(images)
    sums = {
        "confidence": np.bincount(place, confidence, BINS)[filled],
        "accuracy": np.bincount(place, correct, BINS)[filled],
    }
    means = {name: total / images[filled] for name, total in sums.items()}
    return pd.DataFrame({"lower": filled / BINS, "upper": (filled + 1) / BINS, **means, "images": images[filled]})


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Mean gap between accuracy and confidence, weighted by images, as a fraction."""
    gaps = (table["accuracy"] - table["confidence"]).abs() * table["images"]
    return float(gaps.sum() / table["images"].sum())


POINTS = 100  # rows of a coverage table, at most


def coverage_table(confidence: np.ndarray, correct: np.ndarray) -> pd.DataFrame:
    """Threshold, coverage and precision (fractions), one row per cent of the images, the most confident first.

    Coverage is the fraction of images at or above the threshold, precision the fraction of correct answers among them.
    """
    thresholds, answered, hits = _by_threshold(confidence, correct)
    wanted = np.arange(1, POINTS + 1) / POINTS * len(confidence)
    shown = np.unique(np.searchsorted(answered, wanted))  # images of equal confidence share a row
    return pd.DataFrame(
        {
            "threshold": thresholds[shown],
            "coverage": answered[shown] / len(confidence),
            "precision": hits[shown] / answered[shown],
        }
    )


RISK = 0.01  # that one threshold promises too much; below 5 % for the lowest of many (a test simulates it)


def choose_threshold(confidence: np.ndarray, correct: np.ndarray, precision: float) -> float | None:
    """The lowest threshold at which these answers show a precision of at least `precision`; None if they show none.

    They show it where so many would be correct with a probability of at most RISK if the precision were lower: a bound
    of the binomial distribution, as in Geifman and El-Yaniv 2017 (arXiv:1705.08500).
    """
    from scipy.stats import binom  # here, because its import takes a second

    thresholds, answered, hits = _by_threshold(confidence, correct)
    shown = np.flatnonzero(binom.sf(hits - 1, answered, precision) <= RISK)
    return float(thresholds[shown[-1]]) if len(shown) else None


CHANCE = 0.05  # that more pictures are called unlike than was asked


def choose_limit(entropy: np.ndarray, false_alarms: float) -> float | None:
    """An entropy that no more than this fraction of pictures like these exceed; None if these are too few to show it.

    In: the entropy of the answer to each picture (N,). They show it where so few would exceed it with a probability of
    at most CHANCE if the fraction were greater; 59 are enough for 0.05.
    """
    from scipy.stats import binom  # here, because its import takes a second

    above = int(binom.ppf(CHANCE, len(entropy), false_alarms)) - 1
    return None if above < 0 else float(np.sort(entropy)[::-1][above])


def selected(confidence: np.ndarray, correct: np.ndarray, threshold: float) -> tuple[int, int]:
    """The number of images at or above the threshold, and how many of these are correct."""
    kept = confidence >= threshold
    return int(kept.sum()), int((kept & correct).sum())


def _by_threshold(confidence: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every distinct confidence, the highest first; the images at or above it; the correct ones among these."""
    thresholds, place = np.unique(-confidence, return_inverse=True)
    answered = np.bincount(place).cumsum()
    hits = np.bincount(place, correct).astype(int).cumsum()
    return -thresholds, answered, hits
