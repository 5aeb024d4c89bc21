"""metrics/data.json: a count a class while they are few."""

from collections import Counter

import numpy as np
import pytest

from imageclf.images.checks import Found, summarize
from imageclf.images.packing import Part


@pytest.mark.parametrize("classes", [2, 20, 21, 1000])
def test_the_counts_of_many_classes_are_summed_up(classes: int) -> None:
    labels = np.concatenate([np.arange(classes), [0, 0]])
    part = Part(labels)
    none = Part(labels[:0])
    found = Found(
        {"train": part, "val": none, "test": none},
        (1, 1, 3),
        len(labels),
        [],
        np.ones((1, 2), int),
        Counter(),
        ("", []),
    )
    counts = summarize(found, [str(number) for number in range(classes)])["classes"]
    if classes <= 20:
        assert len(counts) == classes
        assert counts["0"] == 3
    else:
        assert counts == {"number": classes, "min": 1, "median": 1, "max": 3}
