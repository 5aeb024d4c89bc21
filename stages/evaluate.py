"""Score the trained classifier on the test split.

Reads data/prepared and models/classifier, writes metrics/evaluate.json, the tables metrics/confusion.csv,
metrics/per_class.csv and metrics/predictions.csv, and metrics/mistakes.png. Run by `dvc repro evaluate`; about 9
seconds for CIFAR-10 on two cores. It computes in fp32, whatever the classifier was trained in.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from stages.console.errors import Diverged
from stages.console.progress import Progress
from stages.console.stage import run_stage
from stages.data.prepared import PREPARED, Split
from stages.evaluation.contact_sheet import Mistake, draw_mistakes
from stages.evaluation.tables import (
    class_table,
    confusion_counts,
    confusion_table,
    most_confident_mistakes,
    prediction_table,
)
from stages.files.atomic import replaced_file, write_json, write_text
from stages.machine.cores import available_cores
from stages.machine.device import choose_device, make_deterministic
from stages.model.card import Card
from stages.model.classifier import Classifier, load_classifier
from stages.params.read import read_params
from stages.scoring.held_out import read_held_out
from stages.scoring.inference import predict_logits
from stages.scoring.scores import cross_entropy, log_softmax, top_k_accuracy

METRICS = Path("metrics/evaluate.json")
CONFUSION = Path("metrics/confusion.csv")
PER_CLASS = Path("metrics/per_class.csv")
PREDICTIONS = Path("metrics/predictions.csv")
MISTAKES = Path("metrics/mistakes.png")


def main() -> str:
    # 1. What is scored, on what.
    params = read_params()
    classifier, card = load_classifier()
    test, samples = read_held_out(card), _read_samples()
    device = choose_device(params.runtime.device)
    threads = available_cores()
    print(
        f"evaluate: {card.model} on {len(test):,} test images of {card.data}; {device}, fp32, {threads} threads",
        flush=True,
    )

    # 2. One answer for each image.
    logits = _answers(classifier, test, device, threads)
    probabilities = np.exp(log_softmax(logits))

    # 3. Scores and tables.
    counts = confusion_counts(test.labels, probabilities.argmax(axis=1), len(card.classes))
    classes = class_table(counts, card.classes)
    scores = {
        "loss": round(cross_entropy(logits, test.labels), 6),
        "top1": round(top_k_accuracy(probabilities, test.labels, 1), 6),
        "top5": round(top_k_accuracy(probabilities, test.labels, 5), 6),
    }
    per_class = classes.set_index("class")[["precision", "recall", "f1"]].to_dict(orient="index")
    write_json(METRICS, scores | {"per_class": per_class})
    _write_table(CONFUSION, confusion_table(counts, card.classes))
    _write_table(PER_CLASS, classes)
    _write_table(PREDICTIONS, prediction_table(samples, probabilities, card.classes))

    # 4. A look at what it is sure of and wrong about.
    with replaced_file(MISTAKES) as file:
        _draw(probabilities, test, samples, card, params.evaluate.mistakes).save(file, format="PNG")
    return f"test top-1 {100 * scores['top1']:.2f} %, top-5 {100 * scores['top5']:.2f} %, loss {scores['loss']:.4f}"


def _read_samples() -> pd.DataFrame:
    """The lines of samples.csv about the test split, in the order of its images."""
    # A class may be called NA, and an id may be all digits: every cell is text.
    samples = pd.read_csv(PREPARED / "samples.csv", dtype=str, keep_default_na=False)
    return samples[samples["split"] == "test"]


def _answers(classifier: Classifier, test: Split, device: torch.device, threads: int) -> np.ndarray:
    """Logits float32 (N, classes) of the test images."""
    make_deterministic()
    with Progress("evaluate", total=len(test), unit="img") as progress:
        logits = predict_logits(
            classifier, test.images, device=device, threads=threads, advance=progress.advance
        ).numpy()
    if not np.isfinite(logits).all():
        raise Diverged("models/classifier answers with nan or infinity; train it anew with a smaller train.lr")
    return logits


def _draw(probabilities: np.ndarray, test: Split, samples: pd.DataFrame, card: Card, most: int) -> Image.Image:
    predictions = probabilities.argmax(axis=1)
    wrong = int((predictions != test.labels).sum())
    mistakes = [
        Mistake(
            image=test.images[index],
            name=samples["id"].iloc[index],
            label=card.classes[test.labels[index]],
            prediction=card.classes[predictions[index]],
            probability=float(probabilities[index].max()),
        )
        for index in most_confident_mistakes(test.labels, probabilities, most)
    ]
    title = f"The {len(mistakes)} most confident of {wrong:,} mistakes" if wrong else "No mistakes"
    return draw_mistakes(mistakes, title=title, subtitle=f"{len(test):,} test images of {card.data} · {card.model}")


def _write_table(path: Path, table: pd.DataFrame) -> None:
    write_text(path, table.to_csv(index=False, float_format="%.6f", lineterminator="\n"))


if __name__ == "__main__":
    run_stage("evaluate", main)
