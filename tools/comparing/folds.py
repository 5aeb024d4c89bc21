"""The runs of a cross-validation, found by their common name."""

import re
from collections.abc import Sequence

import numpy as np

from imageclf.evaluation.predictions import Predictions
from imageclf.runtime.errors import DataError, printable
from tools.comparing.revisions import Revision, experiments, find_revision
from tools.repository import head

NAMED = re.compile(r"(.+)-(\d+)-of-(\d+)", re.ASCII)


def name_of_fold(name: str, number: int, folds: int) -> str:
    """The experiment's name of fold `number`, from 1."""
    return f"{name}-{number}-of-{folds}"


def find_folds(name: str) -> list[Revision]:
    """The runs of the cross-validation of this name, in order; none if there is none.

    Raises:
        DataError: some of its folds have not run, or the name is that of several.
    """
    here, found = head(), dict[tuple[str, int], dict[int, str]]()
    for each in experiments():
        parts = NAMED.fullmatch(each.name)
        if parts and parts[1] == name:
            found.setdefault((each.baseline, int(parts[3])), {})[int(parts[2])] = each.commit
    of_head = {key: commits for key, commits in found.items() if key[0] == here} or found
    if len(of_head) > 1:
        kinds = " or ".join(f"of {folds} folds from {baseline[:7]}" for baseline, folds in sorted(of_head))
        raise DataError(
            f"{printable(name)} is the name of {len(of_head)} cross-validations, {kinds}; give one another name"
        )
    for (_, folds), commits in of_head.items():
        if missing := [number for number in range(1, folds + 1) if number not in commits]:
            raise DataError(
                f"{printable(name)} lacks {len(missing)} of {folds} folds; run its python -m tools.cross_validate again"
            )
        return [find_revision(commits[number]) for number in range(1, folds + 1)]
    return []


def joined(folds: Sequence[Predictions]) -> Predictions:
    """The predictions of all folds, one after the other."""
    arrays = ("labels", "answers", "confidences", "probabilities")
    return Predictions(
        "-".join(fold.md5 for fold in folds),
        [name for fold in folds for name in fold.ids],
        [path for fold in folds for path in fold.paths],
        *(np.concatenate([getattr(fold, name) for fold in folds]) for name in arrays),
    )
