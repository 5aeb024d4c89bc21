"""Read the predictions of a revision, and check that two have the same test images."""

import csv
import hashlib
from pathlib import Path

from imageclf.evaluation.predictions import Predictions, parse_predictions
from imageclf.runtime.errors import DataError, printable
from imageclf.runtime.files import has_remote
from tools.comparing.revisions import WORKSPACE, Revision
from tools.repository import Cache, Entry, Hashes, Stage
from tools.verifying.outputs import words

PREDICTIONS = Path("metrics/predictions.csv")
FETCH = {  # the command by kind of revision
    WORKSPACE: f"dvc pull {PREDICTIONS}",
    "branch": f"dvc fetch --all-branches {PREDICTIONS}",
    "tag": f"dvc fetch --all-tags {PREDICTIONS}",
    "commit": f"dvc fetch --all-commits {PREDICTIONS}",
}


def read_predictions(revision: Revision) -> Predictions:
    """Read a revision's predictions.

    Raises:
        DataError: the predictions are missing, or not of its classifier.
    """
    text, md5 = read_text(revision)
    try:
        return parse_predictions(text, md5)
    except (ValueError, KeyError, IndexError, csv.Error):
        raise DataError(f"{revision.title}: {PREDICTIONS} is not a table of predictions; {revision.way}") from None


def read_text(revision: Revision) -> tuple[str, str]:
    """The content of a revision's predictions.csv, and its MD5; errors as of `read_predictions`."""
    maker, entry = _made_by(revision)
    dep = _changed_since(maker, {out.path: (stage, out) for stage in revision.stages for out in stage.outs})
    if dep:
        raise DataError(
            f"{revision.title}: {PREDICTIONS} was made from another {dep} than its dvc.lock has; {revision.way}"
        )
    return _bytes(revision, entry).decode(errors="replace"), entry.md5


def check_same_images(one: Predictions, name: str, other: Predictions, other_name: str, why: str = "") -> None:
    """Check that both have the same test images; `why` says, in brackets, why they may not.

    Raises:
        DataError: the images or their labels differ, or there is only one.
    """
    if len(one.ids) < 2:
        raise DataError(f"{name} was scored on only one test image; prepare more test images")
    if len(one.ids) != len(other.ids):
        raise DataError(
            f"not comparable: {name} was scored on {len(one.ids):,} test images, "
            f"{other_name} on {len(other.ids):,}{why}; compare runs on the same data"
        )
    for place, (first, second) in enumerate(zip(one.ids, other.ids, strict=True)):
        if first != second or one.labels[place] != other.labels[place]:
            raise DataError(
                f"not comparable: the test sets differ{why}, image {place + 1:,} is {printable(first)}, a "
                f"{printable(one.labels[place])}, in {name}, and {printable(second)}, a "
                f"{printable(other.labels[place])}, in {other_name}; compare runs on the same data"
            )


def _made_by(revision: Revision) -> tuple[Stage, Entry]:
    for stage in revision.stages:
        for out in stage.outs:
            if out.path == PREDICTIONS:
                return stage, out
    raise DataError(f"{revision.title} has no {PREDICTIONS}: evaluate did not run; {revision.way}")


def _changed_since(stage: Stage, made: dict[Path, tuple[Stage, Entry]]) -> Path | None:
    """A dep of the stage, or of one before it, that has changed since: the last run ended half-way."""
    for dep in stage.deps:
        if dep.path in made:
            maker, out = made[dep.path]
            if out.md5 != dep.md5:
                return dep.path
            before = _changed_since(maker, made)
            if before:
                return before
    return None


def _bytes(revision: Revision, entry: Entry) -> bytes:
    stored = Cache(Hashes()).object(entry.md5)
    for path in (stored, PREDICTIONS):
        if path.is_file():
            content = path.read_bytes()
            if hashlib.md5(content).hexdigest() == entry.md5:
                return content
    bring, first = _command(revision), "" if has_remote() else revision.first
    if stored.is_file():
        raise DataError(f"{revision.title}: {stored} is damaged; {first}run rm -f {words([stored])} && {bring}")
    raise DataError(f"{revision.title}: its {PREDICTIONS} is not in DVC's cache; {first}run {bring}")


def _command(revision: Revision) -> str:
    if not has_remote():
        return revision.again
    # `dvc exp apply` exits with an error if objects are missing, but has changed the workspace by then.
    return FETCH.get(revision.kind, f"dvc exp apply {words([revision.name])}; dvc pull {PREDICTIONS}")
