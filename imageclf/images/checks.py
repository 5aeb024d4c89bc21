"""Data validation: problems of own images, and what was done about them."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imageclf.images.dataset import SPLITS
from imageclf.images.decode_all import Outcome
from imageclf.images.manifest import File
from imageclf.images.packing import Part
from imageclf.images.remarks import cut_away, enlarged, narrow_range
from imageclf.images.splits import LEAST
from imageclf.runtime.errors import DataError, closest, printable
from imageclf.runtime.files import write_text

REPORT = Path("metrics/data_report.csv")
DROPPED, LEFT_OUT, USED, STOPS = "dropped", "left out", "used", "stops the run"
ALL = "all images"  # the path of a finding about the whole data set
UNEVEN = 10  # largest ratio of training images between classes without a remark
SHOWN = 3  # classes in a console line
FEW = 10  # images of a class; with fewer, a score says little about it
DARK = 64  # of 256 values
RANK = {"": 0, "train": 0, "val": 1, "test": 2}  # of copies in several splits, the highest stays


@dataclass(frozen=True)
class Finding:
    """A row of the report: the file or class, the kind of problem, its description, the action."""

    path: str
    kind: str
    found: str
    action: str


def faults(files: list[File], outcomes: list[Outcome]) -> dict[int, Finding]:
    """Images that cannot be used, by index: not decodable, with two labels, or with a copy in a held-out split."""
    groups: dict[bytes, list[int]] = {}
    faulty: dict[int, Finding] = {}
    for index, outcome in enumerate(outcomes):
        if outcome.fault:
            faulty[index] = Finding(files[index].path, outcome.fault, outcome.found, DROPPED)
        else:
            groups.setdefault(outcome.digest, []).append(index)
    for twins in groups.values():
        if len({files[index].label for index in twins}) > 1:
            for index in twins:
                other = next(other for other in twins if files[other].label != files[index].label)
                faulty[index] = Finding(files[index].path, "two labels", f"as {files[other].path}", DROPPED)
            continue
        kept = max(twins, key=lambda index: RANK[files[index].split])
        for index in twins:
            if RANK[files[index].split] < RANK[files[kept].split]:
                found = f"same picture as {files[kept].path} of {files[kept].split}"
                faulty[index] = Finding(files[index].path, "leak", found, DROPPED)
    return faulty


def remarks(files: list[File], outcomes: list[Outcome], used: list[int]) -> list[Finding]:
    """Remarks on single images that are `used`."""
    found, first = list[Finding](), dict[bytes, int]()
    for index in used:
        twin = first.setdefault(outcomes[index].digest, index)
        if twin != index:
            found.append(Finding(files[index].path, "duplicate", f"same picture as {files[twin].path}", USED))
        if outcomes[index].blank:
            found.append(Finding(files[index].path, "blank", "one colour all over", USED))
        for oddity in outcomes[index].oddities:
            words = "the first is used" if oddity == "several frames" else "the picture is taken as it lies"
            found.append(Finding(files[index].path, oddity, words, USED))
    return found


def set_remarks(
    files: list[File], outcomes: list[Outcome], used: list[int], *, has_window: bool, fit: str, side: int
) -> list[Finding]:
    """Remarks on all images that are `used`.

    `has_window`: prepare.window is set; `fit` is prepare.fit; `side` is that of the prepared images.
    """
    shown = [outcomes[index] for index in used]
    found = _range_remarks(shown, has_window=has_window)
    blank = sum(outcome.blank for outcome in shown)
    if blank:
        words = f"{blank:,} of {len(shown):,} pictures are one colour all over; look at them"
        found.append(Finding(ALL, "blank", words, USED))
    sizes = [(outcome.width, outcome.height) for outcome in shown]
    for kind, words in (
        ("cut away", cut_away(sizes) if fit == "crop" else ""),
        ("enlarged", enlarged(sizes, side, fit=fit)),
    ):
        if words:
            found.append(Finding(ALL, kind, words, USED))
    return found + _one_picture_classes(files, outcomes, used)


def _range_remarks(shown: list[Outcome], *, has_window: bool) -> list[Finding]:
    """A remark if most pictures are too dark, with the window that fixes it."""
    sixteen = [outcome.values for outcome in shown if outcome.values]
    if has_window and not sixteen:
        words = "prepare.window is for 16-bit grey pictures, and there are none; set it to null"
        return [Finding(ALL, "no use for a window", words, USED)]
    words = "" if has_window else narrow_range(sixteen)
    if words:
        return [Finding(ALL, "narrow range", words, USED)]
    dark = sum(outcome.brightest < DARK for outcome in shown)
    if 2 * dark > len(shown):
        words = f"{dark:,} of {len(shown):,} pictures have no value above {DARK - 1} of 255; are they masks?"
        return [Finding(ALL, "dark", words, USED)]
    return []


def _one_picture_classes(files: list[File], outcomes: list[Outcome], used: list[int]) -> list[Finding]:
    pictures: dict[str, list[bytes]] = {}
    for index in used:
        pictures.setdefault(files[index].label, []).append(outcomes[index].digest)
    return [
        Finding(f"class {name}", "one picture", f"its {len(digests):,} images are the same", USED)
        for name, digests in pictures.items()
        if len(digests) > 1 and len(set(digests)) == 1
    ]


def class_remarks(
    counts: dict[str, dict[str, int]], *, units: dict[str, int], given: frozenset[str] = frozenset()
) -> list[Finding]:
    """Remarks on rare classes, and on classes without an image in a split where others have one.

    `counts` is by class and split; `units` counts each class's different pictures or groups; `given` are the user's own
    splits.
    """
    most = max(splits["train"] for splits in counts.values())
    found = []
    for name, splits in counts.items():
        path = f"class {name}"
        if most > UNEVEN * splits["train"]:
            words = f"{splits['train']:,} training images, where another class has {most:,}"
            found.append(Finding(path, "imbalance", words, USED))
        images = sum(splits.values())
        if images < FEW:
            found.append(Finding(path, "few images", f"{images}, where {FEW} or more make scores mean something", USED))
        for split, least in LEAST.items():
            if not splits[split] and any(other[split] for other in counts.values()):
                words = "its groups have other classes too, and went elsewhere; take another prepare.seed"
                if split in given:
                    words = f"none of its {images} is given"
                elif units[name] < least:
                    words = f"under {least} different pictures or groups"
                found.append(Finding(path, f"no {split} image", words, USED))
    return found


def name_remarks(counts: dict[str, dict[str, int]], *, given: frozenset[str]) -> list[Finding]:
    """Remarks on classes without an image in a given split, if a class of a similar name has some."""
    found = []
    for split in sorted(given & set(LEAST)):
        for name, splits in counts.items():
            near = "" if splits[split] else near_name(name, counts, split)
            if near:
                words = f"{name!r} has no {split} image, but {near!r} has; if they are one class, rename one"
                found.append(Finding(ALL, "names alike", words, USED))
    return found


def near_name(name: str, counts: dict[str, dict[str, int]], split: str) -> str:
    """The class with images in `split` that `name` may be a misspelling of; empty if none."""
    number = re.sub(r"\D", "", name)  # class 1 is not a misspelling of class 2
    others = [other for other in counts if counts[other][split] and re.sub(r"\D", "", other) == number]
    swapped = [other for other in others if sorted(other) == sorted(name)]
    return swapped[0] if swapped else closest(name, others, cutoff=0.75)


def no_validation(images: int) -> Finding:
    """The remark that validation is empty, although some of the `images` were asked for."""
    words = f"none of {images:,} was chosen; add images, raise prepare.val_fraction or take another prepare.seed"
    return Finding(ALL, "no val image", words, USED)


def console_lines(findings: list[Finding]) -> list[str]:
    """Console lines: one per finding about all images, and one per kind of class remark."""
    lines = [_problem(finding) for finding in findings if finding.path == ALL]
    for kind in ("one picture", "few images", *(f"no {split} image" for split in LEAST)):
        names = [finding.path for finding in findings if finding.kind == kind and finding.path != ALL]
        if names:
            more = ", ..." if len(names) > SHOWN else ""
            lines.append(f"{kind}: {', '.join(map(printable, names[:SHOWN]))}{more}")
    return lines


def write_report(findings: list[Finding], left_out: list[dict[str, str]]) -> None:
    """metrics/data_report.csv: path, problem, action; sorted."""
    lines = [(finding.path, _problem(finding), finding.action) for finding in findings]
    lines += [(line["path"], line["problem"], line["action"]) for line in left_out]
    cells = [[cell(printable(text)) for text in line] for line in sorted(lines)]
    table = pd.DataFrame(cells, columns=["path", "problem", "action"])
    write_text(REPORT, table.to_csv(index=False, lineterminator="\n"))


def refusal(findings: list[Finding], seen: int) -> DataError:
    """The error if prepare.on_bad is fail."""
    counts = Counter(finding.kind for finding in findings)
    words = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()))
    first = findings[0]
    return DataError(
        f"{len(findings):,} of {seen:,} files cannot be used ({words}), such as {printable(first.path)} "
        f"({_problem(first)}); {REPORT} lists each; fix them, or drop them with prepare.on_bad=drop"
    )


def cell(text: str) -> str:
    """Prefix an apostrophe to cells that look like formulas, so that a spreadsheet shows them as text."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _problem(finding: Finding) -> str:
    return finding.found if finding.found.startswith(finding.kind) else f"{finding.kind}: {finding.found}"


@dataclass(frozen=True)
class Found:
    """The splits to pack, and the facts for metrics/data.json."""

    parts: dict[str, Part]
    shape: tuple[int, int, int]  # H, W, C of the packed images
    seen: int  # all files or images, used or not
    findings: list[Finding]
    sizes: list[tuple[int, int]]  # original (width, height) of each used image, or one for all
    modes: Counter[str]  # Pillow's modes

    def words(self) -> str:
        """The counts of unused images and remarks, in brackets; empty if there are none."""
        used = sum(len(part.labels) for part in self.parts.values())
        remarks = sum(finding.action == USED for finding in self.findings)
        parts = [f"{self.seen - used:,} not used"] * (self.seen > used)
        parts += [f"{remarks:,} remark{'s' * (remarks > 1)}"] * (remarks > 0)
        where = f": see {REPORT}" if self.findings else ""
        return f" ({', '.join(parts)}{where})" if parts else ""


LISTED = 20  # classes; with more, only their number and a summary


def summarize(found: Found, classes: list[str]) -> dict[str, Any]:
    """Counts of images by action, problem, class and split, and their original sizes.

    With more than 20 classes: their number, and the minimum, median and maximum of their images.
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
    """Minimum, lower median and maximum."""
    ordered = sorted(numbers)
    return {"min": ordered[0], "median": ordered[(len(ordered) - 1) // 2], "max": ordered[-1]}
