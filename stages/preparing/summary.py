"""metrics/data.json: what a data set is made of, in numbers."""

from collections import Counter
from typing import Any

import numpy as np

from stages.data.prepared import SPLITS
from stages.preparing.findings import DROPPED, USED
from stages.preparing.found import Found

LISTED = 20  # classes, at most, that each have a count


def summarize(found: Found, classes: list[str]) -> dict[str, Any]:
    """Counts of images seen, used, dropped, left out; by problem, class and split; their sizes as they came.

    Of more than 20 classes: their number, and the least, median and most images that one has.
    """
    counts = {split: len(found.parts[split].labels) for split in SPLITS}
    labels = {split: np.bincount(found.parts[split].labels, minlength=len(classes)).tolist() for split in SPLITS}
    images = {name: sum(labels[split][index] for split in SPLITS) for index, name in enumerate(classes)}
    used, dropped = sum(counts.values()), _by_kind(found, DROPPED)
    return {
        "seen": found.seen,
        "used": used,
        "dropped": sum(dropped.values()),
        "left_out": found.seen - used - sum(dropped.values()),
        "problems": dropped,
        "remarks": _by_kind(found, USED),
        "splits": counts,
        "classes": images if len(classes) <= LISTED else {"number": len(classes)} | _middle(list(images.values())),
        "imbalance": round(max(labels["train"]) / max(min(labels["train"]), 1), 2),
        "width": _middle([width for width, _ in found.sizes]),
        "height": _middle([height for _, height in found.sizes]),
        "modes": dict(found.modes),
    }


def _by_kind(found: Found, action: str) -> dict[str, int]:
    return dict(Counter(finding.kind for finding in found.findings if finding.action == action))


def _middle(numbers: list[int]) -> dict[str, int]:
    """Least, median (the lower of two) and most."""
    ordered = sorted(numbers)
    return {"min": ordered[0], "median": ordered[(len(ordered) - 1) // 2], "max": ordered[-1]}
