"""Accuracy, cross entropy and confidence intervals."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the class probabilities, float64 (N, classes), from logits (N, classes)."""
    shifted = logits - logits.max(axis=1, keepdims=True).astype(np.float64)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log p(label), in nats, from logits (N, classes) and labels (N,)."""
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


def top_k_accuracy(answers: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Fraction of images whose label is among the k best classes of `answers` (N, classes), logits or probabilities.

    Ties go to the lower class, as in argmax. With fewer than k classes every answer counts.
    """
    own = np.take_along_axis(answers, labels[:, None], axis=1)
    ahead = (answers > own) | ((answers == own) & (np.arange(answers.shape[1]) < labels[:, None]))
    return float((ahead.sum(axis=1) < k).mean())


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of the fraction right / count (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    Without images it is 0 to 1.
    """
    from scipy.stats import binomtest  # here, because its import takes a second

    if count == 0:
        return 0.0, 1.0
    low, high = binomtest(right, count).proportion_ci(0.95, method="wilson")
    return float(low), float(high)


@dataclass(frozen=True)
class Answers:
    """Logits float32 (N, classes) and labels int64 (N,)."""

    logits: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, temperature: float) -> "Answers":
        """These answers with the logits divided by a temperature, in fp32 as in the exported files."""
        return Answers(self.logits / np.float32(temperature), self.labels)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """The probability of each class, float64 (N, classes)."""
        return np.exp(log_softmax(self.logits))

    @cached_property
    def predictions(self) -> np.ndarray:
        """The most probable class of each image, int64 (N,)."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def correct(self) -> np.ndarray:
        """Whether the prediction is the label, bool (N,)."""
        return self.predictions == self.labels

    @cached_property
    def confidence(self) -> np.ndarray:
        """The prediction's probability, float64 (N,), 6 digits as in predictions.csv."""
        return self.probabilities.max(axis=1).round(6)
