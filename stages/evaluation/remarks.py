"""What prepare remarked on the images, of metrics/data_report.csv, kind by kind."""

import re
from dataclasses import dataclass

import pandas as pd

EXAMPLES = 2  # paths


@dataclass(frozen=True)
class Remark:
    """How many files or classes have a kind of problem, what was done with them, and some of them."""

    kind: str
    action: str
    count: int
    examples: list[str]


def remarks_by_kind(report: pd.DataFrame) -> list[Remark]:
    """A remark for each kind of problem and action of a report (path, problem, action), by action and kind."""
    # A problem begins with its kind: "duplicate: same picture as ...", "not a picture (...)".
    kinds = report["problem"].map(lambda problem: re.split(r": | \(", problem)[0])
    return [
        Remark(str(kind), str(action), len(paths), paths.head(EXAMPLES).tolist())
        for (action, kind), paths in report["path"].groupby([report["action"], kinds])
    ]
