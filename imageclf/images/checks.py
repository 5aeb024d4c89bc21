"""Data validation: problems of own images, and what was done about them."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imageclf.images.dataset import SPLITS
from imageclf.images.manifest import File, Files, LeftOut
from imageclf.images.outcomes import Outcomes
from imageclf.images.packing import Part
from imageclf.images.pairs import Pair
from imageclf.images.remarks import cut_away, enlarged, narrow_range
from imageclf.images.splits import LEAST
from imageclf.runtime.errors import DataError, closest, printable
from imageclf.runtime.files import replaced_file

REPORT = Path("metrics/data_report.csv")
DROPPED, LEFT_OUT, USED, STOPS = "dropped", "left out", "used", "stops the run"
ALL = "all images"  # the path of a finding about the whole data set
UNEVEN = 10  # largest ratio of training images between classes without a remark
SHOWN = 3  # classes in a console line
FEW = 10  # images of a class; with fewer, a score says little about it
DARK = 64  # of 256 values
RANK = np.array([0, 1, 2, 0], np.int8)  # of GIVEN; of copies in several splits, the highest stays


@dataclass(frozen=True, slots=True)
class Finding:
    """A row of the report: the file or class, the kind of problem, its description, the action."""

    path: str
    kind: str
    found: str
    action: str
    leads: bool = False  # the report begins with it


def damages(files: Sequence[File], outcomes: Outcomes) -> dict[int, Finding]:
    """Files that cannot be decoded, by index."""
    return {
        index: Finding(files[index].path, outcome.fault, outcome.found, DROPPED)
        for index, outcome in sorted(outcomes.faulty.items())
    }


def contradictions(files: Files, pictures: np.ndarray) -> dict[int, Finding]:
    """Images with two labels, or with a copy in a held-out split, by index.

    `pictures` int32 (N,) has a number for each file, equal for copies, -1 for a file that cannot be decoded.
    """
    labels, ranks = files.labels, RANK[files.given]
    faulty: dict[int, Finding] = {}
    for twins in copies(pictures):
        if (labels[twins] != labels[twins[0]]).any():
            for index in twins.tolist():
                other = twins[labels[twins] != labels[index]][0]
                faulty[index] = Finding(files[index].path, "two labels", f"as {files[other].path}", DROPPED)
            continue
        kept = twins[ranks[twins].argmax()]
        for index in twins[ranks[twins] < ranks[kept]].tolist():
            found = f"same picture as {files[kept].path} of {files[kept].split}"
            faulty[index] = Finding(files[index].path, "leak", found, DROPPED)
    return faulty


def copies(pictures: np.ndarray) -> list[np.ndarray]:
    """The indices of each picture that is there several times, ascending, from the numbers of pictures (N,)."""
    sound = pictures >= 0
    counts = np.bincount(pictures[sound], minlength=1)
    several = np.flatnonzero(sound & (counts > 1)[pictures])
    order = several[np.argsort(pictures[several], kind="stable")]
    twins = np.split(order, np.flatnonzero(np.diff(pictures[order])) + 1) if len(order) else []
    return sorted(twins, key=lambda twins: int(twins[0]))


def remarks(files: Sequence[File], outcomes: Outcomes, pictures: np.ndarray, used: np.ndarray) -> list[Finding]:
    """Remarks on single images at the indices `used` (n,), ascending; `pictures` as for `contradictions`."""
    found = list[Finding]()
    for twins in copies(pictures[used]):
        first, *others = used[twins].tolist()
        words = f"same picture as {files[first].path}"
        found += [Finding(files[index].path, "duplicate", words, USED) for index in others]
    for index in used[outcomes.facts["blank"][used]].tolist():
        found.append(Finding(files[index].path, "blank", "one colour all over", USED))
    for index in sorted(outcomes.odd.keys() & set(used.tolist())) if outcomes.odd else []:
        for oddity in outcomes.odd[index]:
            words = "the first is used" if oddity == "several frames" else "the picture is taken as it lies"
            found.append(Finding(files[index].path, oddity, words, USED))
    return found


def set_remarks(shown: np.ndarray, *, has_window: bool, fit: str, side: int) -> list[Finding]:
    """Remarks on all images that are used, from their facts FACTS (n,).

    `has_window`: prepare.window is set; `fit` is prepare.fit; `side` is that of the prepared images.
    """
    found = _range_remarks(shown, has_window=has_window)
    blank = int(shown["blank"].sum())
    if blank:
        words = f"{blank:,} of {len(shown):,} pictures are one colour all over; look at them"
        found.append(Finding(ALL, "blank", words, USED))
    for kind, words in (
        ("cut away", cut_away(shown["size"]) if fit == "crop" else ""),
        ("enlarged", enlarged(shown["size"], side, fit=fit)),
    ):
        if words:
            found.append(Finding(ALL, kind, words, USED))
    return found


def _range_remarks(shown: np.ndarray, *, has_window: bool) -> list[Finding]:
    """A remark if most pictures are too dark, with the window that fixes it."""
    sixteen = shown["values"][shown["values"][:, 0] >= 0]
    if has_window and not len(sixteen):
        words = "prepare.window is for 16-bit grey pictures, and there are none; set it to null"
        return [Finding(ALL, "no use for a window", words, USED)]
    words = "" if has_window else narrow_range(sixteen)
    if words:
        return [Finding(ALL, "narrow range", words, USED)]
    dark = int((shown["brightest"] < DARK).sum())
    if 2 * dark > len(shown):
        words = f"{dark:,} of {len(shown):,} pictures have no value above {DARK - 1} of 255; are they masks?"
        return [Finding(ALL, "dark", words, USED)]
    return []


def one_picture_classes(labels: np.ndarray, pictures: np.ndarray, classes: list[str]) -> list[Finding]:
    """Remarks on classes of several copies of one picture, from each image's label and picture, int (n,)."""
    numbers, first, counts = np.unique(labels, return_index=True, return_counts=True)
    same = np.ones(len(classes), bool)
    same[labels[pictures != pictures[first][np.searchsorted(numbers, labels)]]] = False
    return [
        Finding(f"class {classes[number]}", "one picture", f"its {count:,} images are the same", USED)
        for _, number, count in sorted(zip(first.tolist(), numbers.tolist(), counts.tolist(), strict=True))
        if count > 1 and same[number]
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


def write_report(findings: list[Finding], left_out: Sequence[LeftOut]) -> None:
    """metrics/data_report.csv: path, problem, action; sorted, behind the findings that lead."""
    lines = [(True, line) for line in left_out]
    lines += [(not finding.leads, LeftOut(finding.path, _problem(finding), finding.action)) for finding in findings]
    with replaced_file(REPORT) as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(LeftOut._fields)
        writer.writerows([cell(printable(text)) for text in line] for _, line in sorted(lines))


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
    sizes: np.ndarray  # original (width, height) of each used image, int (n, 2), or one for all
    modes: Counter[str]  # Pillow's modes
    near_copies: tuple[str, list[Pair]]  # the title of their sheet, and the pairs on it

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
    images = np.sum([labels[split] for split in SPLITS], axis=0)
    each = dict(zip(classes, images.tolist(), strict=True))
    used, dropped = sum(counts.values()), _by_kind(found, DROPPED)
    return {
        "seen": found.seen,
        "used": used,
        "dropped": sum(dropped.values()),
        "left_out": found.seen - used - sum(dropped.values()),
        "problems": dropped,
        "remarks": _by_kind(found, USED),
        "splits": counts,
        "classes": each if len(classes) <= LISTED else {"number": len(classes)} | _middle(images),
        "imbalance": round(max(labels["train"]) / max(min(labels["train"]), 1), 2),
        "width": _middle(found.sizes[:, 0]),
        "height": _middle(found.sizes[:, 1]),
        "modes": dict(found.modes),
    }


def _by_kind(found: Found, action: str) -> dict[str, int]:
    return dict(Counter(finding.kind for finding in found.findings if finding.action == action))


def _middle(numbers: np.ndarray) -> dict[str, int]:
    """Minimum, lower median and maximum."""
    ordered = np.sort(numbers)
    return {"min": int(ordered[0]), "median": int(ordered[(len(ordered) - 1) // 2]), "max": int(ordered[-1])}
