"""The data doctor: what is wrong with a user's images, and what was done about it."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imageclf.images.dataset import SPLITS, Part
from imageclf.images.decode_all import Outcome
from imageclf.images.manifest import File
from imageclf.images.remarks import cut_away, narrow_range
from imageclf.images.splits import LEAST
from imageclf.runtime.errors import DataError, closest, printable
from imageclf.runtime.files import write_text

REPORT = Path("metrics/data_report.csv")
DROPPED, LEFT_OUT, USED, STOPS = "dropped", "left out", "used", "stops the run"
ALL = "all images"  # the path of what is said of a data set as a whole
UNEVEN = 10  # times as many training images as the rarest class
SHOWN = 3  # classes that a line at the console names
DARK = 64  # of 256 values
RANK = {"": 0, "train": 0, "val": 1, "test": 2}  # of a picture in several given splits, the highest copy stays


@dataclass(frozen=True)
class Finding:
    """A line of the report: a file, a class or all; what kind of problem it has, in words too; what was done."""

    path: str
    kind: str
    found: str
    action: str


def faults(files: list[File], outcomes: list[Outcome]) -> dict[int, Finding]:
    """Why an image cannot be used, by its index: it gives no picture, has two labels, or its twin is held out."""
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
    """What is worth knowing of the images `used`, and is no reason to leave one out."""
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


def set_remarks(files: list[File], outcomes: list[Outcome], used: list[int], *, has_window: bool) -> list[Finding]:
    """What is worth knowing of the images `used` together; `has_window` says whether prepare.window is set."""
    shown = [outcomes[index] for index in used]
    found = _range_remarks(shown, has_window=has_window)
    blank = sum(outcome.blank for outcome in shown)
    if blank:
        words = f"{blank:,} of {len(shown):,} pictures are one colour all over; look at them"
        found.append(Finding(ALL, "blank", words, USED))
    words = cut_away([(outcome.width, outcome.height) for outcome in shown])
    if words:
        found.append(Finding(ALL, "cut away", words, USED))
    return found + _one_picture_classes(files, outcomes, used)


def _range_remarks(shown: list[Outcome], *, has_window: bool) -> list[Finding]:
    """Whether the pictures are too dark to be told apart, and which window would mend it."""
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


def class_remarks(counts: dict[str, dict[str, int]], *, given: frozenset[str] = frozenset()) -> list[Finding]:
    """Rare classes, and those without an image in a split where others have one.

    `counts` by class and split; `given` has the splits that the user made.
    """
    most = max(splits["train"] for splits in counts.values())
    found = []
    for name, splits in counts.items():
        path = f"class {name}"
        if most > UNEVEN * splits["train"]:
            words = f"{splits['train']:,} training images, where another class has {most:,}"
            found.append(Finding(path, "imbalance", words, USED))
        for split, least in LEAST.items():
            if not splits[split] and any(other[split] for other in counts.values()):
                words = f"none of its {sum(splits.values())} is given" if split in given else f"under {least} images"
                found.append(Finding(path, f"no {split} image", words, USED))
    return found


def name_remarks(counts: dict[str, dict[str, int]], *, given: frozenset[str]) -> list[Finding]:
    """Classes without an image in a split that the user made, where one of nearly the same name has some."""
    found = []
    for split in sorted(given & set(LEAST)):
        for name, splits in counts.items():
            near = "" if splits[split] else near_name(name, counts, split)
            if near:
                words = f"{name!r} has no {split} image, but {near!r} has; if they are one class, rename one"
                found.append(Finding(ALL, "names alike", words, USED))
    return found


def near_name(name: str, counts: dict[str, dict[str, int]], split: str) -> str:
    """The class with images in `split` that `name` may be misspelt for; empty if there is none."""
    number = re.sub(r"\D", "", name)  # class 1 is no slip for class 2
    others = [other for other in counts if counts[other][split] and re.sub(r"\D", "", other) == number]
    swapped = [other for other in others if sorted(other) == sorted(name)]
    return swapped[0] if swapped else closest(name, others, cutoff=0.75)


def no_validation(images: int) -> Finding:
    """The remark where none of so many images was chosen for validation, and some were asked for."""
    words = f"none of {images:,} was chosen; add images, raise prepare.val_fraction or take another prepare.seed"
    return Finding(ALL, "no val image", words, USED)


def console_lines(findings: list[Finding]) -> list[str]:
    """What is said of all images, and of classes that lack something, in a line each."""
    lines = [_problem(finding) for finding in findings if finding.path == ALL]
    for kind in ("one picture", *(f"no {split} image" for split in LEAST)):
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
    """What to say where faults are not to be dropped."""
    counts = Counter(finding.kind for finding in findings)
    words = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()))
    first = findings[0]
    return DataError(
        f"{len(findings):,} of {seen:,} files cannot be used ({words}), such as {printable(first.path)} "
        f"({_problem(first)}); {REPORT} names each: mend them, or leave them out with prepare.on_bad=drop"
    )


def cell(text: str) -> str:
    """A text from outside as a spreadsheet shows it: what begins as a formula does gets an apostrophe in front."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _problem(finding: Finding) -> str:
    return finding.found if finding.found.startswith(finding.kind) else f"{finding.kind}: {finding.found}"


@dataclass(frozen=True)
class Found:
    """Its splits for packing, and what metrics/data.json counts."""

    parts: dict[str, Part]
    shape: tuple[int, int, int]  # H, W, C of the packed images
    seen: int  # files or images, whatever became of them
    findings: list[Finding]
    sizes: list[tuple[int, int]]  # (width, height) of each image used as it came, or one for all
    modes: Counter[str]  # Pillow's words for their kinds of pixels

    def words(self) -> str:
        """What there is to say of what was not used; empty if all was."""
        used = sum(len(part.labels) for part in self.parts.values())
        remarks = sum(finding.action == USED for finding in self.findings)
        parts = [f"{self.seen - used:,} not used"] * (self.seen > used)
        parts += [f"{remarks:,} remark{'s' * (remarks > 1)}"] * (remarks > 0)
        where = f": see {REPORT}" if self.findings else ""
        return f" ({', '.join(parts)}{where})" if parts else ""


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
