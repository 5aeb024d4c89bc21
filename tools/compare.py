"""Test whether the difference between two runs is real or noise: `python -m tools.compare A [B]`.

It reads both runs' predictions from DVC's cache, pairs them image by image, and writes the images that changed to
metrics/compare (not tracked by git or DVC). CIFAR-10 takes about a second. The exit code is 0 after a comparison, 2 for
a wrong command line and 3 if the runs cannot be compared. With `--exit-code` a significant difference exits with 1.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from imageclf.evaluation.predictions import Predictions
from imageclf.runtime.errors import DataError, printable
from imageclf.runtime.stage import run_tool
from tools.comparing.differences import (
    changed_since,
    check_same_data,
    differences,
    differing_params,
    reasons_for_other_images,
)
from tools.comparing.folds import find_folds, joined
from tools.comparing.pictures import images_of_all, write_changed
from tools.comparing.predictions import check_same_images, read_predictions
from tools.comparing.revisions import WORKSPACE, Revision, find_revision
from tools.comparing.statistics import compare_runs
from tools.comparing.verdict import METHODS, Verdict, class_lines, cut, judge, judge_runs, outcome_lines, runs_lines

USAGE = """
A and B are experiments, branches, tags, commits or `workspace`. A is compared with B, the base. A defaults to the
workspace, B to HEAD. Two cross-validations are compared on all their images. Separate runs that differ only in their
seed by commas: python -m tools.compare lr-1,lr-2,lr-3 base-1,base-2,base-3
"""


@dataclass(frozen=True)
class Run:
    """A revision and its predictions."""

    revision: Revision
    predictions: Predictions
    folds: tuple["Run", ...] = ()  # of a cross-validation


def main() -> None:
    # 1. Find both sides, and check that they have the same test images.
    asked = _arguments()
    folds = find_folds(asked.new), find_folds(asked.base)
    if any(folds):
        _finish(asked, *_one(*_folded(asked, *folds)))
        return
    new_names, base_names = (side.split(",") for side in (asked.new, asked.base))
    revisions = [find_revision(name) for name in [*new_names, *base_names]]
    against = revisions[len(new_names)]
    if len(revisions) == 2 and revisions[0].commit == against.commit and not asked.json:
        print(f"{revisions[0].title} against {against.title}: {_same_state(against)}, so there is nothing to compare")
        return
    runs = _runs(revisions, against)
    new, base = runs[: len(new_names)], runs[len(new_names) :]

    # 2. Compare, and print the verdict.
    _finish(asked, *(_one(new[0], base[0]) if len(new + base) == 2 else _several(new, base)))


def _finish(asked: argparse.Namespace, report: dict[str, Any], lines: list[str], verdict: Verdict) -> None:
    if asked.json:
        print(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print("\n".join(lines))
    if asked.exit_code and verdict in ("better", "worse"):
        raise SystemExit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.compare",
        description="Is the difference between two runs real or noise?",
        epilog=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("new", metavar="A", nargs="?", default=WORKSPACE, help="default: workspace")
    parser.add_argument("base", metavar="B", nargs="?", default="HEAD", help="default: HEAD")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 if the difference is significant")
    asked = parser.parse_args()
    sides = [len(side.split(",")) for side in (asked.new, asked.base)]
    if max(sides) > 1 and min(sides) < 2:
        parser.error("several seeds need at least two runs on each side: A1,A2 B1,B2")
    return asked


def _runs(revisions: list[Revision], against: Revision) -> list[Run]:
    """Each revision with its predictions, checked to be of the same images as those of `against`."""
    for revision in revisions:
        check_same_data(revision, against)
    runs = [Run(revision, read_predictions(revision)) for revision in revisions]
    base = runs[revisions.index(against)].predictions
    for run in runs:
        why = reasons_for_other_images(run.revision, against)
        check_same_images(run.predictions, run.revision.title, base, against.title, why)
    return runs


def _folded(asked: argparse.Namespace, new: list[Revision], base: list[Revision]) -> tuple[Run, Run]:
    """Two cross-validations, each as one run with the answers of all its folds."""
    names = asked.new, asked.base
    if len(new) != len(base):
        counts = " and ".join(f"{printable(name)} {len(side)}" for name, side in zip(names, (new, base), strict=True))
        raise DataError(f"not comparable by folds, of which {counts} has; compare two cross-validations of as many")
    pairs = [_runs([one, other], other) for one, other in zip(new, base, strict=True)]
    first, second = (
        Run(replace(folds[0].revision, name=name), joined([fold.predictions for fold in folds]), folds)
        for name, folds in zip(names, zip(*pairs, strict=True), strict=True)
    )
    return first, second


def _one(new: Run, base: Run) -> tuple[dict[str, Any], list[str], Verdict]:
    """Compare two runs: the report, the lines to print, the verdict."""
    names = printable(new.revision.name), printable(base.revision.name)
    outcome = judge(new.predictions, base.predictions)
    images = images_of_all([(run.revision, run.predictions) for run in new.folds or [new]])
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
    """Compare several seeds on each side: noise between seeds, and noise between images."""
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
    """A warning if the workspace has changed since its last run."""
    reasons = {changed_since(run.revision) for run in runs} - {""}
    return [
        f"  the workspace's predictions are from its last run, before this change: {printable(reason)}; run dvc repro"
        for reason in reasons
    ]


def _same_state(revision: Revision) -> str:
    return "the same commit on both sides" if revision.commit else "the workspace on both sides"


def _what_differs(new: Revision, base: Revision) -> str:
    changes = differences(new, base)
    more = f", and {len(changes) - 6} more" if len(changes) > 6 else ""
    words = f"what differs: {', '.join(changes[:6])}{more}"
    return words if changes else "the same params, files and code on both sides"


def _pictures(images: Sequence[np.ndarray] | None) -> str:
    if images is not None:
        return ", fixed.png, broken.png"
    return "; no pictures: the test images are missing (run dvc checkout, dvc pull or dvc repro prepare)"


if __name__ == "__main__":
    run_tool(main)
