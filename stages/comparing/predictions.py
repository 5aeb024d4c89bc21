"""The predictions of a revision, one for each test image, from DVC's cache."""

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.comparing.revisions import WORKSPACE, Revision
from stages.console.errors import DataError
from stages.console.text import printable
from stages.files.remote import has_remote
from stages.verifying.cache import Cache
from stages.verifying.finding import words
from stages.verifying.hashes import Hashes
from stages.verifying.lock import Entry, Stage

PREDICTIONS = Path("metrics/predictions.csv")
COLUMNS = ["id", "path", "label", "prediction", "confidence"]
LEAST = 5e-7  # a probability of 0 in the file's 6 digits is anything up to this
BRING = {  # what a kind of revision needs; of the options, none works with a single file
    WORKSPACE: f"dvc pull {PREDICTIONS}",
    "branch": "dvc fetch --all-branches",
    "tag": "dvc fetch --all-tags",
    "commit": "dvc fetch --all-commits",
}


@dataclass(frozen=True)
class Predictions:
    """For each of N test images: what it is, what it was taken for, and how sure of that. Text arrays hold str."""

    md5: str
    ids: list[str]
    paths: list[str]
    labels: np.ndarray
    answers: np.ndarray
    confidences: np.ndarray
    probabilities: np.ndarray  # of the right class

    @property
    def right(self) -> np.ndarray:
        """Whether each image was taken for what it is, bool (N,)."""
        return self.answers == self.labels

    @property
    def losses(self) -> np.ndarray:
        """The loss of each image in nats, (N,); probabilities below half of the file's last digit count as that."""
        return -np.log(np.maximum(self.probabilities, LEAST))


def read_predictions(revision: Revision) -> Predictions:
    """Read a revision's predictions.

    Raises:
        DataError: it has none, they are not of its classifier, or they are not at hand; says what brings them.
    """
    maker, entry = _made_by(revision)
    dep = _changed_since(maker, {out.path: (stage, out) for stage in revision.stages for out in stage.outs})
    if dep:
        raise DataError(f"{revision.title}: {PREDICTIONS} is of another {dep} than its dvc.lock has; {revision.way}")
    try:
        return _parse(_bytes(revision, entry).decode(), entry.md5)
    except (ValueError, KeyError, IndexError, csv.Error):
        raise DataError(f"{revision.title}: {PREDICTIONS} is not a table of predictions; {revision.way}") from None


def check_same_images(one: Predictions, name: str, other: Predictions, other_name: str) -> None:
    """Two classifiers can be compared image by image on one test set only.

    Raises:
        DataError: the images or their labels differ, or there is but one.
    """
    if len(one.ids) < 2:
        raise DataError(f"{name} was scored on one test image, which says nothing; prepare more test images")
    if len(one.ids) != len(other.ids):
        raise DataError(
            f"not comparable: {name} was scored on {len(one.ids):,} test images, {other_name} on {len(other.ids):,}; "
            f"compare runs on the same data"
        )
    for place, (first, second) in enumerate(zip(one.ids, other.ids, strict=True)):
        if first != second or one.labels[place] != other.labels[place]:
            raise DataError(
                f"not comparable: the test sets differ, image {place + 1:,} is {printable(first)}, a "
                f"{printable(one.labels[place])}, in {name}, and {printable(second)}, a "
                f"{printable(other.labels[place])}, in {other_name}; compare runs on the same data"
            )


def _made_by(revision: Revision) -> tuple[Stage, Entry]:
    for stage in revision.stages:
        for out in stage.outs:
            if out.path == PREDICTIONS:
                return stage, out
    raise DataError(f"{revision.title} has no {PREDICTIONS}: evaluate was not run; {revision.way}")


def _changed_since(stage: Stage, made: dict[Path, tuple[Stage, Entry]]) -> Path | None:
    """What the stage or one before it read that was made anew since: a run that ended, or was told to, half-way."""
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
    # Without the objects `dvc exp apply` ends with an error, and has yet done its part.
    return BRING.get(revision.kind, f"dvc exp apply {words([revision.name])}; dvc pull {PREDICTIONS}")


def _parse(text: str, md5: str) -> Predictions:
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    if header[: len(COLUMNS)] != COLUMNS or not rows:
        raise ValueError(header)
    # A class may have any name, so its column is found by place. Of many classes there is one column, the label's.
    column = {name.removeprefix("p_"): place for place, name in enumerate(header) if place >= len(COLUMNS)}
    own = header.index("label_probability") if "label_probability" in header else None
    ids, paths, labels, answers, confidences = zip(*(row[: len(COLUMNS)] for row in rows), strict=True)
    return Predictions(
        md5,
        list(ids),
        list(paths),
        np.array(labels, dtype=object),
        np.array(answers, dtype=object),
        np.array(confidences, dtype=float),
        np.array([float(row[column[row[2]] if own is None else own]) for row in rows]),
    )
