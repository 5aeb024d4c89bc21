"""How often a classifier is right on the images that it is sure of, and where to draw the line.

Confidence (N,) is each image's best probability, 6 digits as in predictions.csv; right (N,) whether the answer is.
"""

import numpy as np
import pandas as pd

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
