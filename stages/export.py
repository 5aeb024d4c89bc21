"""Export the trained classifier, to ONNX and what else is asked for, and check the files on the test split.

Reads data/prepared, models/classifier, metrics/evaluate.json and metrics/predictions.csv. Writes models/export
(classifier.onnx, classifier.json, labels.txt, README.md) and metrics/export.json. Run by `dvc repro export`; CIFAR-10
takes about 10 seconds on two cores. The files include the preprocessing. Each is scored on the whole test split in a
process of its own. Nothing is written if one disagrees with the predictions of evaluate.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from imageclf.config.export import ExportParams
from imageclf.config.section import read_section
from imageclf.evaluation.inference import predict_logits, read_held_out
from imageclf.evaluation.scores import log_softmax
from imageclf.export.agreement import accuracy_lost, agreement, check_agreement, check_lost, fresh_answers
from imageclf.export.model_card import model_card
from imageclf.export.registry import Material, chosen_formats
from imageclf.images.dataset import PREPARED, Split, read_split
from imageclf.images.decode import rule
from imageclf.models.card import Card
from imageclf.models.classifier import Classifier, load_classifier
from imageclf.models.device import make_deterministic
from imageclf.models.tracing import traced
from imageclf.runtime.errors import DataError, printable
from imageclf.runtime.files import replaced_folder, write_json
from imageclf.runtime.platform import available_cores
from imageclf.runtime.progress import Progress
from imageclf.runtime.stage import run_stage

EXPORT = Path("models/export")
METRICS = Path("metrics/export.json")
TEST_SCORES = Path("metrics/evaluate.json")
PREDICTIONS = Path("metrics/predictions.csv")
CALIBRATED = 500  # training images that a format may look at


def main() -> str:
    # 1. Read the classifier, and the predictions to compare with.
    classifier, card = load_classifier()
    test, scores = read_held_out(card), _read_scores()
    params = read_section(ExportParams)
    opset, formats = params.opset, chosen_formats(params.formats)
    files = ", ".join(chosen.FILE for chosen in formats.values())
    print(f"export: {card.model} as {files} (ONNX opset {opset}); {len(test):,} test images must agree", flush=True)
    make_deterministic()
    temperature = scores.get("calibration", {}).get("temperature")
    trained = _trained_answers(classifier, test, card.classes, temperature)

    with (
        replaced_folder(EXPORT) as folder,
        ThreadPoolExecutor() as pool,
        Progress("export", total=len(formats) * len(test), unit="img") as progress,
    ):
        # 2. Write the files, and start each in a process of its own.
        asked = {}
        facts = _facts(card, scores)
        write_json(folder / "classifier.json", facts)
        program = traced(classifier, card, temperature)
        material = Material(program, card, facts, opset, scores, _spread(read_split("train").images, CALIBRATED))
        # ONNX takes longest to write: what is not made from it is made before, and run meanwhile.
        for kind in sorted(formats, key=lambda kind: (formats[kind].AFTER_ONNX, kind == "onnx")):
            material.made[kind] = formats[kind].write(material)
            file = folder / formats[kind].FILE
            file.write_bytes(material.made[kind])
            asked[kind] = pool.submit(fresh_answers, formats[kind].READER, file, PREPARED / "test_images.npy")
        (folder / "labels.txt").write_text("".join(f"{printable(name)}\n" for name in card.classes), encoding="utf-8")

        # 3. Compare their predictions with the trained model's.
        reports: dict[str, dict[str, Any]] = {}
        for kind in formats:
            file, answers = folder / formats[kind].FILE, asked[kind].result()
            reports[kind] = agreement(answers, trained, test.labels) | {"bytes": file.stat().st_size}
            if formats[kind].EXACT:
                check_agreement(file.name, answers, trained)
            else:
                lost = accuracy_lost(answers, trained, test.labels)
                check_lost(file.name, lost, most=params.int8_loss)
                reports[kind] |= lost
            progress.advance(len(test))
        (folder / "README.md").write_text(
            model_card(
                card,
                test=scores,
                exports={formats[kind].FILE: report for kind, report in reports.items()},
                pictures=rule(card.fit),
            ),
            encoding="utf-8",
        )
    write_json(METRICS, reports)
    same = min(report["same"] for kind, report in reports.items() if formats[kind].EXACT)
    return f"{EXPORT}, same answers as the trained model on {same:,} of {len(test):,} test images"


def _spread(images: np.ndarray, most: int) -> np.ndarray:
    """At most this many of the images, from the first to the last."""
    return images[np.linspace(0, len(images) - 1, min(most, len(images)), dtype=int)]


def _read_scores() -> dict[str, Any]:
    return json.loads(_there(TEST_SCORES).read_text())


def _trained_answers(classifier: Classifier, test: Split, classes: list[str], temperature: float | None) -> np.ndarray:
    """The trained model's probabilities (N, classes): from predictions.csv, or computed again for many classes."""
    table = pd.read_csv(_there(PREDICTIONS), keep_default_na=False)  # a class may be called NA
    answers = table.iloc[:, -len(classes) :]
    if len(table) == len(test) and list(answers.columns) == [f"p_{name}" for name in classes]:
        return answers.to_numpy(np.float64)
    if len(table) != len(test) or "label_probability" not in table:
        raise DataError(f"{PREDICTIONS} is not of these test images and classes; run dvc repro evaluate")
    logits = predict_logits(classifier, test.images, device=torch.device("cpu"), threads=available_cores())
    return np.exp(log_softmax(logits.numpy().astype(np.float64) / (temperature or 1.0)))


def _there(path: Path) -> Path:
    if not path.exists():
        raise DataError(f"{path} is missing; run dvc repro evaluate")
    return path


def _facts(card: Card, scores: dict[str, Any]) -> dict[str, Any]:
    """The metadata in each exported file."""
    facts: dict[str, Any] = {
        "classes": card.classes,
        "size": card.size,
        "channels": card.channels,
        "model": card.model,
        "data": card.data,
        "data_sha256": card.data_sha256,
        "pictures": rule(card.fit),
    } | _certainty(scores)
    if card.window:
        facts["window"] = card.window
    if card.fit != "crop":
        facts["fit"] = card.fit
    if card.network_size != card.size:
        facts["network_size"] = card.network_size  # readers choose their chunk size by it
    return facts


def _certainty(scores: dict[str, Any]) -> dict[str, Any]:
    """The thresholds and the temperature that evaluate found on validation."""
    found = scores | scores.get("selective", {}) | scores.get("calibration", {})
    facts = {name: found[name] for name in ("threshold", "thresholds", "temperature") if name in found}
    return facts | ({"unlike_entropy": scores["unlike"]["entropy"]} if "unlike" in scores else {})


if __name__ == "__main__":
    run_stage("export", main)
