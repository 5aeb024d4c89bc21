"""What a classifier says of the images of a split, beside what they are."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.scoring.scores import log_softmax


@dataclass(frozen=True)
class Answers:
    """Logits float32 (N, classes) and labels int64 (N,)."""

    logits: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Of each class, float64 (N, classes)."""
        return np.exp(log_softmax(self.logits))

    @cached_property
    def predictions(self) -> np.ndarray:
        """The best class of each image, int64 (N,)."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def right(self) -> np.ndarray:
        """Whether that is the label, bool (N,)."""
        return self.predictions == self.labels

    @cached_property
    def confidence(self) -> np.ndarray:
        """Its probability, float64 (N,), 6 digits as in predictions.csv."""
        return self.probabilities.max(axis=1).round(6)
