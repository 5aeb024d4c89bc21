"""Say whether one run is better than another, or only luckier: `python -m tools.compare A [B]`.

It reads the predictions of both from DVC's cache, pairs them image by image, and writes the images that changed to
metrics/compare (git and DVC leave that folder alone). About a second for CIFAR-10. It ends with 0 where the comparison
worked, whatever it says (`--exit-code`: 1 where the two were told apart), with 2 for a wrong command line and with 3
where there is nothing to compare.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from imageclf.runtime.errors import DataError, printable
from imageclf.runtime.stage import run_tool
from tools.comparing.pictures import test_images, write_changed
from tools.comparing.predictions import (
    WORKSPACE,
    Predictions,
    Revision,
    changed_since,
    check_same_data,
    check_same_images,
    differences,
    differing_params,
    find_revision,
    read_predictions,
    reasons_for_other_images,
)
from tools.comparing.statistics import compare_runs
from tools.comparing.verdict import METHODS, Verdict, class_lines, cut, judge, judge_runs, outcome_lines, runs_lines

USAGE = """
A and B are experiments, branches, tags, commits or `workspace`: A is asked about, B is what it is held against.
Without B it is HEAD; without A it is the workspace. Several runs of one thing, that differ in their seed, go with
commas: python -m tools.compare lr-1,lr-2,lr-3 base-1,base-2,base-3
"""


@dataclass(frozen=True)
class Run:
    """A revision and its predictions."""

    revision: Revision
    predictions: Predictions


def main() -> None:
    # 1. Who against whom, on the same images.
    asked = _arguments()
    new_names, base_names = (side.split(",") for side in (asked.new, asked.base))
    revisions = [find_revision(name) for name in [*new_names, *base_names]]
    against = revisions[len(new_names)]
    if len(revisions) == 2 and revisions[0].commit == against.commit and not asked.json:
        print(f"{revisions[0].title} against {against.title}: {_same_state(against)}, so there is nothing to compare")
        return
    runs = _runs(revisions, against)
    new, base = runs[: len(new_names)], runs[len(new_names) :]

    # 2. The verdict.
    report, lines, verdict = _one(new[0], base[0]) if len(new + base) == 2 else _several(new, base)
    if asked.json:
        print(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print("\n".join(lines))
    if asked.exit_code and verdict in ("better", "worse"):
        raise SystemExit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.compare",
        description="Is one run better than another, or only luckier?",
        epilog=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("new", metavar="A", nargs="?", default=WORKSPACE, help="default: workspace")
    parser.add_argument("base", metavar="B", nargs="?", default="HEAD", help="default: HEAD")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--exit-code", action="store_true", help="end with 1 where the two are told apart, as git diff")
    asked = parser.parse_args()
    sides = [len(side.split(",")) for side in (asked.new, asked.base)]
    if max(sides) > 1 and min(sides) < 2:
        parser.error("runs over seeds need two a side at least: A1,A2 B1,B2")
    return asked


def _runs(revisions: list[Revision], against: Revision) -> list[Run]:
    """Each with its predictions, once they are known to be of the same images as those of `against`."""
    for revision in revisions:
        check_same_data(revision, against)
    runs = [Run(revision, read_predictions(revision)) for revision in revisions]
    base = runs[revisions.index(against)].predictions
    for run in runs:
        why = reasons_for_other_images(run.revision, against)
        check_same_images(run.predictions, run.revision.title, base, against.title, why)
    return runs


def _one(new: Run, base: Run) -> tuple[dict[str, Any], list[str], Verdict]:
    """One run against one: everything, and the images that changed."""
    names = printable(new.revision.name), printable(base.revision.name)
    outcome = judge(new.predictions, base.predictions)
    images = test_images(new.revision, new.predictions)
    folder = write_changed(new.predictions, base.predictions, images, names=names)
    report = {
        "new": names[0],
        "base": names[1],
        "commits": [new.revision.commit, base.revision.commit],
        "images": outcome.pairs.images,
        "differs": differing_params(new.revision, base.revision),
        **asdict(outcome),
        "files": str(folder),
    }
    lines = [
        f"{new.revision.title} against {base.revision.title}: {outcome.pairs.images:,} test images",
        f"  {_what_differs(new.revision, base.revision)}",
        "",
        *outcome_lines(outcome, *names),
        "",
        *class_lines(outcome.classes, *names),
        f"  {METHODS}",
        f"  {folder}/   fixed.csv, broken.csv" + _pictures(images),
    ]
    if outcome.verdict == "same":
        lines = lines[:4]
    return report, lines + _notes([new, base]), outcome.verdict


def _several(new: list[Run], base: list[Run]) -> tuple[dict[str, Any], list[str], Verdict]:
    """Runs over seeds: what the seeds say beside what the images say."""
    for side in (new, base):
        for one, other in combinations(side, 2):
            if one.predictions.md5 == other.predictions.md5:
                raise DataError(
                    f"{one.revision.title} and {other.revision.title} have the same predictions, so they are one run; "
                    f"give runs with another train.seed"
                )
    top1 = compare_runs(*(np.stack([run.predictions.correct for run in side]).astype(float) for side in (new, base)))
    loss = compare_runs(*(np.stack([run.predictions.losses for run in side]) for side in (new, base)))
    verdict = judge_runs(top1)
    names = [[run.revision.name for run in side] for side in (new, base)]
    images = len(new[0].predictions.ids)
    report = {
        "new": names[0],
        "base": names[1],
        "images": images,
        "top1": asdict(top1),
        "loss": asdict(loss),
        "verdict": verdict,
    }
    titles = " against ".join(", ".join(cut(name) for name in side) for side in names)
    lines = [f"{titles}: {images:,} test images", "", *runs_lines(top1, loss, verdict)]
    return report, lines + _notes([*new, *base]), verdict


def _notes(runs: list[Run]) -> list[str]:
    """What a reader would not expect of the workspace."""
    reasons = {changed_since(run.revision) for run in runs} - {""}
    return [
        f"  the workspace's predictions are those of its last run, before {printable(reason)}; dvc repro makes new ones"
        for reason in reasons
    ]


def _same_state(revision: Revision) -> str:
    return "one and the same commit on both sides" if revision.commit else "the workspace on both sides"


def _what_differs(new: Revision, base: Revision) -> str:
    changes = differences(new, base)
    more = f", and {len(changes) - 6} more" if len(changes) > 6 else ""
    words = f"what differs: {', '.join(changes[:6])}{more}"
    return words if changes else "the same params, files and code on both sides"


def _pictures(images: np.ndarray | None) -> str:
    if images is not None:
        return ", fixed.png, broken.png"
    return "; no pictures: the test images are not at hand (dvc checkout, dvc pull or dvc repro prepare brings them)"


if __name__ == "__main__":
    run_tool(main)
