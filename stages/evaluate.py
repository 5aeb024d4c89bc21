"""Score the trained classifier on the test split, and calibrate it on validation.

Reads data/prepared, models/classifier, and for the report metrics/history.csv, data_report.csv, preview.png,
near_copies.png and augmented.png; of own images data/raw, and the files of the mistakes that are drawn. Writes
metrics/evaluate.json, the tables metrics/confusion.csv, per_class.csv, reliability.csv, coverage.csv and
predictions.csv, metrics/mistakes.png and metrics/report.html. Run by `dvc repro evaluate`; CIFAR-10 takes about 12
seconds on two cores. It always computes in fp32. Temperature and threshold come from the validation split.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from functools import partial
from html import escape
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from imageclf.config.evaluate import EvaluateParams
from imageclf.config.runtime import RuntimeParams
from imageclf.config.section import read_section
from imageclf.evaluation.calibration import coverage_table
from imageclf.evaluation.heat_map import heat_maps
from imageclf.evaluation.inference import chunk_of, chunks_answered, read_held_out
from imageclf.evaluation.metrics import (
    accuracy_figures,
    both_reliabilities,
    calibration_figures,
    findings,
    selective_figures,
    temperature_of,
    thresholds_by_precision,
    unlike_figures,
)
from imageclf.evaluation.mistakes import BOX, Mistake, draw_mistakes
from imageclf.evaluation.predictions import most_confident_mistakes, prediction_table
from imageclf.evaluation.report import remarks_by_kind, render_report
from imageclf.evaluation.scores import Answers
from imageclf.evaluation.tables import class_table, confusion_counts, confusion_table
from imageclf.images.dataset import PREPARED, SPLITS, Split, read_split
from imageclf.images.grid import drawn
from imageclf.images.originals import Original, read_originals
from imageclf.models.card import CLASSIFIER, Card
from imageclf.models.classifier import Classifier, load_classifier
from imageclf.models.device import choose_device, make_deterministic
from imageclf.models.own import cause
from imageclf.runtime.errors import DataError, Diverged
from imageclf.runtime.files import made, replaced_file, sha256_of_file, write_bytes, write_json, write_text
from imageclf.runtime.platform import available_cores
from imageclf.runtime.progress import Progress
from imageclf.runtime.stage import run_stage

RAW = Path("data/raw")
METRICS = Path("metrics/evaluate.json")
CONFUSION = Path("metrics/confusion.csv")
PER_CLASS = Path("metrics/per_class.csv")
RELIABILITY = Path("metrics/reliability.csv")
COVERAGE = Path("metrics/coverage.csv")
PREDICTIONS = Path("metrics/predictions.csv")
MISTAKES = Path("metrics/mistakes.png")
REPORT = Path("metrics/report.html")
HISTORY = Path("metrics/history.csv")
DATA_REPORT = Path("metrics/data_report.csv")
PICTURES = {
    "The most confident mistakes on the test split": MISTAKES,
    "Training images, class by class": Path("metrics/preview.png"),
    "Training images as augmented for the network": Path("metrics/augmented.png"),
}
NEAR_COPIES = Path("metrics/near_copies.png")
AS_CSV: dict[str, Any] = {"index": False, "float_format": "%.6f", "lineterminator": "\n"}
TOO_HIGH = "may make the score too high"  # in prepare's words about near-copies across splits
LISTED = 20  # classes; with more, their scores are in per_class.csv only


def main() -> str:
    # 1. Read the classifier and the test split.
    params = read_section(EvaluateParams)
    classifier, card = load_classifier()
    held_out = read_held_out(card)
    device = choose_device(read_section(RuntimeParams).device)
    threads = available_cores()
    print(
        f"evaluate: {card.model} on {len(held_out):,} test images of {card.data}; {device}, fp32, {threads} threads",
        flush=True,
    )

    # 2. Predict both splits, and calibrate: from here on the answers are those that the exported files will give.
    val_trained, test_trained = _answers(classifier, [read_split("val"), held_out], len(card.classes), device, threads)
    temperature = temperature_of(val_trained)
    val, test = (each.at(temperature) if temperature else each for each in (val_trained, test_trained))

    # 3. Write scores and tables.
    counts = confusion_counts(test.labels, test.predictions, len(card.classes))
    classes = class_table(counts, card.classes)
    scores = accuracy_figures(test)
    calibration = calibration_figures(test_trained, temperature)
    trust = _trust(test, val, calibration, params.target_precision)
    untested = classes.loc[classes["images"] == 0, "class"].tolist()
    _check_there(DATA_REPORT)
    data_report = _read_text(DATA_REPORT)
    found = [*_across_splits(data_report), *findings(scores, test, val, untested=untested)]
    for finding in found:
        print(f"evaluate: {finding}", flush=True)
    reliability = both_reliabilities(test_trained, test)
    coverage = coverage_table(test.confidence, test.correct)
    write_json(METRICS, scores | trust | _per_class(classes))
    _write_table(CONFUSION, confusion_table(counts, card.classes))
    _write_table(PER_CLASS, classes)
    _write_table(RELIABILITY, reliability)
    _write_table(COVERAGE, coverage)
    _write_predictions(test, card.classes)

    # 4. Draw the most confident mistakes, and write the report.
    most = params.mistakes
    write_bytes(MISTAKES, drawn(MISTAKES, lambda: _draw(test, held_out, classifier, card, most=most, threads=threads)))
    for path in (HISTORY, NEAR_COPIES, *PICTURES.values()):
        _check_there(path)
    has_copies = data_report["problem"].str.startswith("near-copy: ").any()
    counted = Counter(line["split"] for line in _samples())

    def page() -> bytes:
        return render_report(
            card,
            scores | trust,
            images={split: counted[split] for split in SPLITS},
            parameters=sum(parameter.numel() for parameter in classifier.parameters()),
            weights=sha256_of_file(CLASSIFIER / "weights.safetensors"),
            history=pd.read_csv(HISTORY),
            classes=classes,
            confusion=counts,
            reliability=reliability,
            coverage=coverage,
            remarks=remarks_by_kind(data_report),
            findings=found,
            pictures=PICTURES | ({"Near-copies": NEAR_COPIES} if has_copies else {}),
        ).encode()

    write_bytes(REPORT, made(REPORT, page, instead=lambda why: f"<p>{escape(why)}\n".encode()))
    top5 = f" top-5 {100 * scores['top5']:.2f} %," if "top5" in scores else ""
    return f"test top-1 {100 * scores['top1']:.2f} %,{top5} loss {scores['loss']:.4f}"


def _read_text(path: Path) -> pd.DataFrame:
    # A class may be called NA, and an id may be all digits: every cell is text.
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _answers(
    classifier: Classifier, splits: list[Split], classes: int, device: torch.device, threads: int
) -> list[Answers]:
    make_deterministic()
    found = []
    with Progress("evaluate", total=sum(map(len, splits)), unit="img") as progress:
        for split in splits:
            logits, size = _in_a_file((len(split), classes)), chunk_of(classifier, split.images, device)
            begins = range(0, len(split), size)
            load = partial(_copied, split.images, size)
            chunks = chunks_answered(classifier, load, begins, device=device, threads=threads)
            for begin, chunk in zip(begins, chunks, strict=True):
                if not chunk.isfinite().all():
                    raise Diverged(f"{CLASSIFIER} answers with nan or infinity; train again with a smaller train.lr")
                logits[begin : begin + size] = chunk.numpy()
                progress.advance(len(chunk))
            found.append(Answers(logits, split.labels))
    return found


def _in_a_file(shape: tuple[int, int]) -> np.ndarray:
    """A float32 array whose pages the system can write to a disk: 1,000 classes take 4 kB per image."""
    if not shape[0]:
        return np.empty(shape, np.float32)
    with TemporaryFile(dir=METRICS.parent) as file:
        return np.memmap(file, np.float32, "w+", shape=shape)


def _copied(images: np.ndarray, size: int, begin: int) -> np.ndarray:
    return np.array(images[begin : begin + size])  # the array may be read-only


def _per_class(classes: pd.DataFrame) -> dict[str, Any]:
    """The scores of each class; nothing for many classes."""
    if len(classes) > LISTED:
        return {}
    scores = classes.set_index("class")[["precision", "recall", "f1"]]
    return {"per_class": {name: row.dropna().to_dict() for name, row in scores.iterrows()}}


def _trust(test: Answers, val: Answers, calibration: dict[str, float], precision: float) -> dict[str, Any]:
    """Temperature and threshold from validation; prints a line for each that cannot be found."""
    found: dict[str, dict[str, Any]] = {
        "calibration": calibration,
        "selective": selective_figures(test, val, precision),
        "thresholds": thresholds_by_precision(val),
        "unlike": unlike_figures(test, val),
    }
    if not len(val):
        print("evaluate: no validation images (prepare.val_fraction), so no temperature and no threshold", flush=True)
    elif not found["calibration"]:
        print(f"evaluate: {len(val):,} validation images do not show that a temperature is needed", flush=True)
    if len(val) and precision and not found["selective"]:
        print(
            f"evaluate: {len(val):,} validation images show no threshold with {100 * precision:g} % correct answers "
            "(evaluate.target_precision), so predict marks no answer as unsure",
            flush=True,
        )
    if len(val) and not found["unlike"]:
        print(
            f"evaluate: {len(val):,} validation images are too few to tell which pictures are unlike the training "
            "images, so predict calls none so",
            flush=True,
        )
    return {name: figures for name, figures in found.items() if figures}


def _across_splits(data_report: pd.DataFrame) -> list[str]:
    """What prepare says of near-copies in several splits, which make the scores too high."""
    said = [each for each in data_report["problem"] if each.startswith("near-copies: ")]
    return [each.removeprefix("near-copies: ") for each in said if TOO_HIGH in each]


def _check_there(path: Path) -> None:
    if not path.exists():
        raise DataError(f"{path} is missing; run dvc repro, or dvc checkout")


def _samples() -> Iterator[dict[str, str]]:
    with (PREPARED / "samples.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _test_samples() -> Iterator[dict[str, str]]:
    """The lines of samples.csv about the test split, in the order of its array."""
    return (line for line in _samples() if line["split"] == "test")


def _write_predictions(test: Answers, classes: list[str]) -> None:
    samples = _test_samples()
    with replaced_file(PREDICTIONS) as path, path.open("w", encoding="utf-8", newline="") as file:
        for rows, probabilities in test.probabilities():
            some = pd.DataFrame(islice(samples, len(probabilities)))
            prediction_table(some, probabilities, classes).to_csv(file, header=not rows.start, **AS_CSV)


def _draw(test: Answers, split: Split, classifier: Classifier, card: Card, *, most: int, threads: int) -> Image.Image:
    wrong = int((~test.correct).sum())
    shown = most_confident_mistakes(test.correct, test.highest, most).tolist()
    wanted = set(shown)
    samples = {place: line for place, line in enumerate(_test_samples()) if place in wanted}
    images = np.array(split.images[shown])
    answers = test.predictions[shown].tolist()
    originals = _originals([samples[index]["path"] for index in shown], card, threads)
    maps = _heat_maps(classifier, card, images, answers, threads)
    mistakes = [
        Mistake(
            image=original.seen if original else image,
            name=samples[index]["id"],
            label=card.classes[test.labels[index]],
            prediction=card.classes[answer],
            probability=float(test.highest[index]),
            whole=original.whole if original and card.fit == "crop" else None,
            heat=heat,
        )
        for index, image, answer, original, heat in zip(shown, images, answers, originals, maps, strict=True)
    ]
    title = f"The {len(mistakes)} most confident of {wrong:,} mistakes" if wrong else "No mistakes"
    return draw_mistakes(mistakes, title=title, subtitle=f"{len(test):,} test images of {card.data} · {card.model}")


def _originals(paths: list[str], card: Card, threads: int) -> list[Original | None]:
    """What the files of own images show; None for one that cannot be read, which prints a line, and for others."""
    found = read_originals(
        RAW, paths, side=BOX, channels=card.channels, fit=card.fit, window=card.window, threads=threads
    )
    for each in found:
        if isinstance(each, DataError):
            print(f"evaluate: {each}; {MISTAKES} shows the prepared image", flush=True)
    return [None if isinstance(each, DataError) else each for each in found]


def _heat_maps(
    classifier: Classifier, card: Card, images: np.ndarray, answers: list[int], threads: int
) -> list[np.ndarray] | list[None]:
    try:
        maps = heat_maps(classifier, images, answers, threads=threads)
        reason = "no layer of it lies over the image and decides the answer"
    except RuntimeError as error:  # from autograd, which a user's own module may break in any way
        maps, reason = None, cause(error)
    if maps is None:
        print(f"evaluate: {MISTAKES} has no heat maps for {card.model}: {reason}", flush=True)
        return [None] * len(images)
    return maps


def _write_table(path: Path, table: pd.DataFrame) -> None:
    write_text(path, table.to_csv(**AS_CSV))


if __name__ == "__main__":
    run_stage("evaluate", main)
