"""Accuracy, cross entropy and confidence intervals."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

CHUNK = 2**16  # logits at a time, to limit memory


def chunks_of_rows(logits: np.ndarray) -> Iterator[slice]:
    """The rows (N,) of logits (N, classes), some at a time."""
    step = max(1, CHUNK // logits.shape[1])
    return (slice(begin, begin + step) for begin in range(0, len(logits), step))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the class probabilities, float64 (N, classes), from logits (N, classes)."""
    shifted = logits - logits.max(axis=1, keepdims=True).astype(np.float64)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """How widely each row of probabilities (N, classes) is spread, in nats (N,): 0 for one class."""
    return -(probabilities * np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))).sum(axis=1)


def top_k_accuracy(answers: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Fraction of images whose label is among the k best classes of `answers` (N, classes), logits or probabilities.

    Ties go to the lower class, as in argmax. With fewer than k classes every answer counts.
    """
    return float((classes_ahead(answers, labels) < k).mean())


def classes_ahead(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes are better than each label (N,), in answers (N, classes)."""
    own = np.take_along_axis(answers, labels[:, None], axis=1)
    ahead = (answers > own) | ((answers == own) & (np.arange(answers.shape[1]) < labels[:, None]))
    return ahead.sum(axis=1)


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
    """Logits float32 (N, classes), which may lie in a file, labels int64 (N,), and a temperature for the logits.

    What is kept in memory is of shape (N,): the probabilities of all classes are computed for some images at a time.
    """

    logits: np.ndarray
    labels: np.ndarray
    temperature: float = 1.0

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, temperature: float) -> "Answers":
        """These answers at a temperature."""
        return replace(self, temperature=temperature)

    def probabilities(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Some images at a time: which, and the probability of each class, float64 (n, classes)."""
        for rows, logs in self._logs():
            yield rows, np.exp(logs)

    @cached_property
    def predictions(self) -> np.ndarray:
        """The most probable class of each image, int64 (N,)."""
        return self._of_each(lambda _, probabilities: probabilities.argmax(axis=1))

    @cached_property
    def correct(self) -> np.ndarray:
        """Whether the prediction is the label, bool (N,)."""
        return self.predictions == self.labels

    @cached_property
    def highest(self) -> np.ndarray:
        """The prediction's probability, float64 (N,)."""
        return self._of_each(lambda _, probabilities: probabilities.max(axis=1))

    @cached_property
    def confidence(self) -> np.ndarray:
        """The prediction's probability, float64 (N,), 6 digits as in predictions.csv."""
        return self.highest.round(6)

    @cached_property
    def entropy(self) -> np.ndarray:
        """The entropy of each image's probabilities in nats, float64 (N,)."""
        return self._of_each(lambda _, probabilities: entropy(probabilities))

    @cached_property
    def ahead(self) -> np.ndarray:
        """How many classes are more probable than the label, int64 (N,)."""
        return self._of_each(lambda rows, probabilities: classes_ahead(probabilities, self.labels[rows]))

    @cached_property
    def losses(self) -> np.ndarray:
        """The cross entropy of each image in nats, float64 (N,)."""
        return -np.concatenate(
            [logs[np.arange(len(logs)), self.labels[rows]] for rows, logs in self._logs()] or [np.empty(0)]
        )

    def _of_each(self, value: Callable[[slice, np.ndarray], np.ndarray]) -> np.ndarray:
        found = [value(rows, probabilities) for rows, probabilities in self.probabilities()]
        return np.concatenate(found or [np.empty(0, int)])

    def _logs(self) -> Iterator[tuple[slice, np.ndarray]]:
        for rows in chunks_of_rows(self.logits):
            yield rows, log_softmax(self.logits[rows].astype(np.float64) / self.temperature)
