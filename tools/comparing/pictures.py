"""Sheets of the test images whose prediction changed."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from imageclf.evaluation.mistakes import Mistake, draw_mistakes
from imageclf.evaluation.predictions import Predictions
from imageclf.images.dataset import PREPARED
from imageclf.runtime.errors import printable
from imageclf.runtime.files import replaced_folder
from tools.comparing.revisions import Revision
from tools.repository import Cache, Hashes

SAMPLES, IMAGES = "samples.csv", "test_images.npy"


def test_images(revision: Revision, predictions: Predictions) -> Sequence[np.ndarray] | None:
    """The test images uint8 (N, H, W, C), memory-mapped, in the order of the predictions; None if missing."""
    for samples, images in _places(revision):
        try:
            if _is_of(samples, predictions):
                found: Sequence[np.ndarray] = np.load(images, mmap_mode="r")
                if len(found) == len(predictions.ids):
                    return found
        except (OSError, ValueError, KeyError, csv.Error):
            continue  # missing or damaged: the sheets are optional
    return None


def images_of_all(runs: Sequence[tuple[Revision, Predictions]]) -> Sequence[np.ndarray] | None:
    """The test images of several runs, one after the other, as of `test_images`; None if some are missing."""
    parts = [test_images(revision, predictions) for revision, predictions in runs]
    whole = [part for part in parts if part is not None]
    return [image for part in whole for image in part] if len(whole) == len(parts) else None


def _places(revision: Revision) -> Iterator[tuple[Path, Path]]:
    yield PREPARED / SAMPLES, PREPARED / IMAGES
    cache = Cache(Hashes())
    for entry in (out for stage in revision.stages for out in stage.outs if out.path == PREPARED):
        files = cache.listing(entry) or {}
        if SAMPLES in files and IMAGES in files:
            yield cache.object(files[SAMPLES]), cache.object(files[IMAGES])


def _is_of(samples: Path, predictions: Predictions) -> bool:
    with samples.open(encoding="utf-8", newline="") as file:
        lines = [(row["id"], row["label"]) for row in csv.DictReader(file) if row["split"] == "test"]
    return lines == list(zip(predictions.ids, predictions.labels, strict=True))


FOLDER = Path("metrics/compare")
DRAWN = 36  # images on a sheet
HEADER = ["id", "path", "label", "prediction", "confidence", "base_prediction", "base_confidence"]


def write_changed(
    new: Predictions, base: Predictions, images: Sequence[np.ndarray] | None, *, names: tuple[str, str]
) -> Path:
    """Write fixed.csv and broken.csv and, given the test `images`, a sheet of each; replace older ones.

    `names` are those of the new run and the base.
    """
    new_name, base_name = names
    fixed, broken = _by_change(new, base), _by_change(base, new)
    with replaced_folder(FOLDER) as folder:
        for kind, places in (("fixed", fixed), ("broken", broken)):
            (folder / f"{kind}.csv").write_text(_table(new, base, places), encoding="utf-8", newline="")
        if images is not None:
            fixed_words = f"wrong in {base_name}, correct in {new_name}: predictions of {base_name}"
            broken_words = f"correct in {base_name}, wrong in {new_name}: predictions of {new_name}"
            _draw(folder / "fixed.png", images, fixed, base, fixed_words)
            _draw(folder / "broken.png", images, broken, new, broken_words)
    return FOLDER


def _by_change(better: Predictions, worse: Predictions) -> np.ndarray:
    """Places of the images that only `better` has correct, sorted by the change in the label's probability."""
    places = np.flatnonzero(better.correct & ~worse.correct)
    gain = better.probabilities[places] - worse.probabilities[places]
    return places[np.argsort(-gain, kind="stable")]


def _table(new: Predictions, base: Predictions, places: np.ndarray) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for place in places:
        said = [field for side in (new, base) for field in (side.answers[place], f"{side.confidences[place]:.6f}")]
        writer.writerow([new.ids[place], new.paths[place], new.labels[place], *said])
    return text.getvalue()


def _draw(path: Path, images: Sequence[np.ndarray], places: np.ndarray, wrong: Predictions, subtitle: str) -> None:
    shown = [
        Mistake(
            image=np.array(images[place]),
            name=wrong.ids[place],
            label=wrong.labels[place],
            prediction=wrong.answers[place],
            probability=float(wrong.confidences[place]),
        )
        for place in places[:DRAWN]
    ]
    some = f"{len(shown)} of " if len(shown) < len(places) else ""
    title = f"{some}{len(places):,} {path.stem} image{'s' if len(places) != 1 else ''}"
    draw_mistakes(shown, title=title, subtitle=printable(subtitle)).save(path)
