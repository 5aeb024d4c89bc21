"""Score a recipe on every image: `python -m tools.cross_validate -k 5`, `-S train.lr=0.001` for another recipe.

The images are dealt into k parts, each class and each group evenly. k runs train on the others and are tested on one
each. So each image is tested once, by a classifier that did not see it; images that are given to the test stay aside.
Each run is a DVC experiment in its own workspace, up to evaluate. Run the same line again to add the missing runs; a
killed run continues from its checkpoint. The exit code is 0 if all runs are there and 1 if one failed.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from imageclf.evaluation.scores import wilson_interval
from imageclf.runtime.errors import printable
from imageclf.runtime.stage import run_tool
from tools.comparing.folds import NAMED
from tools.repository import metrics_at
from tools.sweeping.grid import planned_folds
from tools.sweeping.results import commits_by_name
from tools.sweeping.running import Listed, run_plan, uncommitted_code

TOOL = "cross_validate"
FEWEST, MOST = 2, 100  # folds
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)


@dataclass(frozen=True)
class Fold:
    """The numbers of images of a run, its validation top-1 if there was one, and how many test images were right."""

    train: int
    val: int
    test: int
    val_top1: float | None
    right: int


def main() -> None:
    # 1. Find the folds that are missing.
    asked = _arguments()
    runs, done = planned_folds(asked.folds, asked.set, uncommitted_code(), asked.name), commits_by_name()
    missing = [run for run in runs if run.name not in done]
    whole = _whole(runs[0].name)
    print(f"{TOOL}: {whole}, {len(runs)} folds, {len(runs) - len(missing)} of them done before", flush=True)

    # 2. Run them one after the other.
    plan = Listed(missing, {})
    for _ in run_plan(TOOL, plan, jobs=1, missing=len(missing)):
        pass

    # 3. Print the table.
    done = commits_by_name()
    folds = {number: _fold(done[run.name]) for number, run in enumerate(runs, 1) if run.name in done}
    print("\n" + "\n".join(_table(folds, len(runs))), flush=True)
    if plan.failures:
        failed = f"{len(plan.failures)} of {len(runs)} folds failed"
        print(f"{TOOL}: {failed}; fix what is said of them above, then run the same line again", file=sys.stderr)
        raise SystemExit(1)
    print(f"\n  wrong labels       python -m tools.label_errors {whole}")
    print(f"  another recipe     the same line with -S KEY=VALUE, then python -m tools.compare OTHER {whole}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m tools.{TOOL}", description="Train and test k times, so that every image is tested once."
    )
    parser.add_argument("-k", "--folds", type=int, default=5, help="default: 5")
    parser.add_argument("-n", "--name", default="cv", help="the beginning of the name of its runs; default: cv")
    parser.add_argument(
        "-S", "--set-param", action="append", default=[], metavar="KEY=VALUE", help="a param of the recipe", dest="set"
    )
    asked = parser.parse_args()
    if not FEWEST <= asked.folds <= MOST:
        parser.error(f"-k {asked.folds}: it can be {FEWEST} to {MOST}")
    if not NAME.fullmatch(asked.name) or ".." in asked.name:
        parser.error(f"-n {printable(asked.name)}: a name has letters, digits, and - _ . between them")
    return asked


def _whole(name: str) -> str:
    found = NAMED.fullmatch(name)
    assert found
    return found[1]


def _fold(commit: str) -> Fold:
    train, evaluate, data = (metrics_at(commit, name) for name in ("train", "evaluate", "data"))
    counts = data["splits"]
    right = round(evaluate["top1"] * counts["test"])
    return Fold(counts["train"], counts["val"], counts["test"], train.get("val", {}).get("top1"), right)


def _table(folds: dict[int, Fold], number: int) -> Iterator[str]:
    """One row per fold, and the score of all images."""
    yield f"  {'fold':<6}  {'train':>9}  {'val':>9}  {'test':>9}  {'val top-1':>9}  test top-1 (95 % interval)"
    for at in range(1, number + 1):
        if at not in folds:
            yield f"  {f'{at}/{number}':<6}  {'–':>9}  {'–':>9}  {'–':>9}  {'–':>9}  –"
            continue
        fold = folds[at]
        val = "–" if fold.val_top1 is None else f"{100 * fold.val_top1:.1f} %"
        counts = "  ".join(f"{count:>9,}" for count in (fold.train, fold.val, fold.test))
        yield f"  {f'{at}/{number}':<6}  {counts}  {val:>9}  {_score(fold.right, fold.test)}"
    if len(folds) == number:
        images, right = (
            sum(values) for values in zip(*((fold.test, fold.right) for fold in folds.values()), strict=True)
        )
        shares = [fold.right / fold.test for fold in folds.values()]
        yield f"  {'all':<6}  {'':>9}  {'':>9}  {images:>9,}  {'':>9}  {_score(right, images)}"
        first = folds[1]
        every = first.train + first.val + first.test
        words = "Each image was tested once."
        if images < every:
            words = f"{images:,} of {every:,} images were tested once; the others were only trained on."
        yield f"\n  {words} The folds go from {100 * min(shares):.1f} to {100 * max(shares):.1f} %."


def _score(right: int, count: int) -> str:
    low, high = wilson_interval(right, count)
    return f"{100 * right / count:.1f} %  ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    run_tool(main)
