"""The data doctor: what is wrong with a user's images, and what was done about it."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stages.console.errors import DataError
from stages.console.text import printable
from stages.files.atomic import write_text
from stages.preparing.decode import Outcome
from stages.preparing.manifest import File

REPORT = Path("metrics/data_report.csv")
DROPPED, LEFT_OUT, USED, STOPS = "dropped", "left out", "used", "stops the run"
UNEVEN = 10  # times as many training images as the rarest class
RANK = {"": 0, "train": 0, "val": 1, "test": 2}  # of a picture in several given splits, the highest copy stays


@dataclass(frozen=True)
class Finding:
    """A line of the report: a file, or a class; what kind of problem it has, in words too; what was done."""

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
        for oddity in outcomes[index].oddities:
            words = "the first is used" if oddity == "several frames" else "the picture is taken as it lies"
            found.append(Finding(files[index].path, oddity, words, USED))
    return found


def class_remarks(counts: dict[str, dict[str, int]]) -> list[Finding]:
    """Classes without a validation or test image where others have one, and rare ones; counts by class and split."""
    most = max(splits["train"] for splits in counts.values())
    found = []
    for name, splits in counts.items():
        path = f"class {name}"
        if most > UNEVEN * splits["train"]:
            words = f"{splits['train']:,} training images, where another class has {most:,}"
            found.append(Finding(path, "imbalance", words, USED))
        for split in ("val", "test"):
            if not splits[split] and any(other[split] for other in counts.values()):
                found.append(Finding(path, f"no {split} image", "its share is left to chance", USED))
    return found


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
    return DataError(
        f"{len(findings):,} of {seen:,} files cannot be used ({words}); {REPORT} names each: mend them, or leave them "
        "out with prepare.on_bad=drop"
    )


def cell(text: str) -> str:
    """A text from outside as a spreadsheet shows it: what begins as a formula does gets an apostrophe in front."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _problem(finding: Finding) -> str:
    return finding.found if finding.found.startswith(finding.kind) else f"{finding.kind}: {finding.found}"
