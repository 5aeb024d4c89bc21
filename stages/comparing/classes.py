"""Which classes a difference comes from, without calling the luckiest of many a finding."""

from dataclasses import dataclass

import numpy as np

from stages.comparing.paired import Pairs, count_pairs, holm, mcnemar_p


@dataclass(frozen=True)
class ClassChange:
    """One class: its pairs, and the p of its exact McNemar test as it counts beside those of the other classes."""

    name: str
    pairs: Pairs
    p: float

    @property
    def recalls(self) -> tuple[float, float]:
        """Share of its images that the new one had right, and the base."""
        pairs = self.pairs
        return (pairs.both + pairs.fixed) / pairs.images, (pairs.both + pairs.broken) / pairs.images


def class_changes(labels: np.ndarray, new: np.ndarray, base: np.ndarray) -> list[ClassChange]:
    """Every class with test images, the one that moved most first; `new` and `base`, bool (N,), say who was right."""
    names = sorted(set(labels))
    pairs = [count_pairs(new[labels == name], base[labels == name]) for name in names]
    adjusted = holm([mcnemar_p(pair.fixed, pair.broken) for pair in pairs])
    changes = [ClassChange(*parts) for parts in zip(names, pairs, adjusted, strict=True)]
    return sorted(changes, key=lambda change: (change.p, -abs(change.pairs.fixed - change.pairs.broken), change.name))
