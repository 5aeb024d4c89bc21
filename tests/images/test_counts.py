"""The images by class at the console: a table of few classes, a line about many."""

import numpy as np

from imageclf.images.counts import class_lines
from imageclf.images.packing import Part


def lines(counts: list[tuple[int, int, int]]) -> list[str]:
    parts = {}
    for at, split in enumerate(("train", "val", "test")):
        labels = np.repeat(np.arange(len(counts)), [row[at] for row in counts])
        parts[split] = Part(labels)
    return class_lines(parts, [f"c{at}" for at in range(len(counts))])


def test_few_classes_make_an_aligned_table() -> None:
    assert lines([(1000, 9, 20), (3, 1, 1)]) == [
        "class  train  val  test",
        "c0     1,000    9    20",
        "c1         3    1     1",
    ]


def test_equal_classes_make_one_line() -> None:
    assert lines([(4500, 500, 1000)] * 10) == ["each class has 4,500 train, 500 val, 1,000 test images"]


def test_many_classes_that_are_dealt_unequally_have_one_size() -> None:
    assert lines([(7, 1, 2), (6, 1, 3)] * 10) == [
        "each of 20 classes has 10 images: 6 to 7 train, 1 to 1 val, 2 to 3 test"
    ]


def test_many_classes_make_one_line_about_the_smallest_and_largest() -> None:
    (line,) = lines([(at, 1, 2) for at in range(1, 14)])
    assert line == (
        "images by class (train/val/test): fewest c0 (1/1/2), c1 (2/1/2), c2 (3/1/2); "
        "most c12 (13/1/2), c11 (12/1/2), c10 (11/1/2)"
    )
