"""The images of each class and split, at the console; and what groups made of the fractions."""

import numpy as np

from imageclf.images.checks import ALL, USED, Finding
from imageclf.images.dataset import SPLITS
from imageclf.images.packing import Part
from imageclf.runtime.errors import printable

LISTED = 12  # classes; with more, a summary
SHOWN = 3  # of the smallest and of the largest
WIDEST = 40  # characters of a name


def class_lines(parts: dict[str, Part], classes: list[str]) -> list[str]:
    """The images by class and split: a table of up to 12 classes, else a line about the smallest and largest."""
    counts = np.array([np.bincount(parts[split].labels, minlength=len(classes)) for split in SPLITS]).T  # (C, 3)
    if (counts == counts[0]).all():
        each = ", ".join(f"{count:,} {split}" for count, split in zip(counts[0].tolist(), SPLITS, strict=True))
        return [f"each class has {each} images"]
    if len(classes) > LISTED:
        if len(totals := set(counts.sum(1).tolist())) == 1:
            least, most = counts.min(0).tolist(), counts.max(0).tolist()
            each = ", ".join(f"{a:,} to {b:,} {split}" for a, b, split in zip(least, most, SPLITS, strict=True))
            return [f"each of {len(classes):,} classes has {totals.pop():,} images: {each}"]
        order = np.argsort(counts.sum(1), kind="stable").tolist()
        ends = {"fewest": order[:SHOWN], "most": order[: -SHOWN - 1 : -1]}
        words = {
            end: ", ".join(f"{printable(classes[at])} ({'/'.join(map(str, counts[at].tolist()))})" for at in its)
            for end, its in ends.items()
        }
        return [f"images by class ({'/'.join(SPLITS)}): fewest {words['fewest']}; most {words['most']}"]
    names = [_short(printable(name)) for name in classes]
    cells = [["class", *SPLITS], *([name, *(f"{n:,}" for n in row)] for name, row in zip(names, counts, strict=True))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join([name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row, widths[1:], strict=True))])
        for name, *row in cells
    ]


def _short(name: str) -> str:
    return name if len(name) <= WIDEST else f"{name[: WIDEST - 3]}..."


def group_remarks(counts: dict[str, dict[str, int]], fractions: dict[str, float]) -> list[Finding]:
    """Remarks on splits that groups made under half or over twice as large as their `fractions` ask for."""
    images = sum(sum(splits.values()) for splits in counts.values())
    found = []
    for split, fraction in fractions.items():
        part = sum(splits[split] for splits in counts.values()) / images
        if not fraction / 2 <= part <= 2 * fraction:
            words = (
                f"{part:.0%} of the images are for {split}, where prepare.{split}_fraction asks for {fraction:.0%}, as "
                "groups are few or of unequal size; take another prepare.seed, or give splits"
            )
            found.append(Finding(ALL, "uneven groups", words, USED))
    return found
