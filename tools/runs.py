"""A table of runs: `python -m tools.runs`, with `--all` those of other commits too.

It fits the terminal, and is whole in a pipe. HEAD comes first, then the workspace and the experiments of `dvc exp run`,
the highest validation accuracy first: a run is chosen by validation, as choosing by the test split would spoil it. It
reads what git has of metrics/, and writes nothing.
"""

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imageclf.evaluation.scores import wilson_interval
from imageclf.runtime.errors import printable
from imageclf.runtime.stage import run_tool
from tools.comparing.differences import differences
from tools.comparing.revisions import WORKSPACE, Revision, experiments, find_revision
from tools.repository import git, metrics_at

METRICS = ("train", "evaluate", "data")
NARROWEST = 20  # characters of the last column, on any terminal
HEAD = "HEAD"


@dataclass(frozen=True)
class Row:
    """What a run has to show; accuracies are fractions with their 95 % interval."""

    name: str
    val: tuple[float, float, float] | None
    test: tuple[float, float, float] | None
    when: str
    differs: str  # from HEAD


def main() -> None:
    asked = _parser().parse_args()
    head = find_revision(HEAD)
    rows = [_row(HEAD, head, head)]
    others = [_row(WORKSPACE, find_revision(WORKSPACE), head)]
    for each in experiments():
        if asked.all or each.baseline == head.commit:
            others.append(_row(each.name, find_revision(each.commit), head))
    if (others[0].val, others[0].test, others[0].differs) == (rows[0].val, rows[0].test, ""):
        others = others[1:]  # the workspace is HEAD's run
    rows += sorted(others, key=lambda row: -(row.val or (0.0, 0.0, 0.0))[0])
    for line in table(rows, width=shutil.get_terminal_size().columns if sys.stdout.isatty() else None):
        print(line)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tools.runs", description=__doc__)
    parser.add_argument("--all", action="store_true", help="experiments of every commit, not of HEAD alone")
    return parser


def table(rows: list[Row], *, width: int | None) -> list[str]:
    """Lines of at most `width` characters, in which what differs is cut where it is longer; None: nothing is cut."""
    cells = [("run", "val top-1", "test top-1", "when", "what differs")]
    cells += [(printable(row.name), _percent(row.val), _percent(row.test), row.when, row.differs) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    room = max(NARROWEST, width - sum(widths) - 2 * len(widths)) if width else max(len(row[-1]) for row in cells)
    lines = []
    for *firsts, last in cells:
        words = last if len(last) <= room else f"{last[: room - 1]}…"
        lines.append(
            "  ".join([*(cell.ljust(size) for cell, size in zip(firsts, widths, strict=True)), words]).rstrip()
        )
    return lines


def _percent(top1: tuple[float, float, float] | None) -> str:
    return "–" if top1 is None else f"{100 * top1[0]:.1f} % ({100 * top1[1]:.1f}–{100 * top1[2]:.1f})"


def _row(name: str, revision: Revision, head: Revision) -> Row:
    train, evaluate, data = (_metrics(revision, name) for name in METRICS)
    val, test = train.get("val", {}).get("top1"), evaluate.get("top1")
    images = data.get("splits", {}).get("val", 0)
    when = git("show", "-s", "--format=%cr", revision.commit) if revision.commit else ""
    return Row(
        name,
        (val, *wilson_interval(round(val * images), images)) if val is not None and images else None,
        (test, evaluate["top1_low"], evaluate["top1_high"]) if test is not None else None,
        (when or "").strip(),
        ", ".join(differences(revision, head)),
    )


def _metrics(revision: Revision, name: str) -> dict[str, Any]:
    """A table of metrics at a revision; empty where there is none."""
    if revision.commit:
        return metrics_at(revision.commit, name)
    path = Path(f"metrics/{name}.json")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


if __name__ == "__main__":
    run_tool(main)
