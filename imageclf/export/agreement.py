"""Check that an exported file agrees with the trained model, in a fresh process, on the test images."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import imageclf
from imageclf.evaluation.paired import accuracy_difference, count_pairs
from imageclf.evaluation.scores import top_k_accuracy
from imageclf.runtime.errors import UserError
from imageclf.runtime.platform import how_it_ended

TIE = 1e-4  # the two best classes may swap if they are closer than this
FAR = 1e-3  # no probability may differ by more; in fp32 the difference is about 1e-6


def fresh_answers(reader: str, model: Path, images: Path) -> np.ndarray:
    """Probabilities (N, classes) for the images in an .npy file, from the module `reader` in a process of its own.

    Raises:
        UserError: the process fails.
    """
    root = str(Path(imageclf.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder) / "probabilities.npy"
        command = [sys.executable, "-m", reader, str(model), str(images), str(answers)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines() if done.returncode > 0 else []
            why = said[-1] if said else f"it {how_it_ended(done.returncode)}"
            raise UserError(f"{model.name} does not run in a fresh process ({why}), so nothing was exported")
        if not answers.exists():
            raise UserError(f"python -m {reader} wrote no answers of {model.name}, so nothing was exported")
        return np.load(answers)


def agreement(answers: np.ndarray, trained: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Scores of an exported file's probabilities (N, classes), and their largest difference to the trained model's."""
    own = np.take_along_axis(answers, labels[:, None], axis=1).astype(np.float64)
    # A probability may have become 0; the smallest normal number keeps its logarithm finite.
    loss = -np.log(np.maximum(own, np.finfo(np.float32).tiny)).mean()
    return {
        "loss": round(float(loss), 6),
        "top1": round(top_k_accuracy(answers, labels, 1), 6),
        "same": int((answers.argmax(axis=1) == trained.argmax(axis=1)).sum()),
        "images": len(labels),
        "largest_difference": round(float(np.abs(answers - trained).max()), 6),
    }


def accuracy_lost(answers: np.ndarray, trained: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Top-1 that an exported file has lost against the trained model, with its 95 % interval."""
    right, before = (those.argmax(axis=1) == labels for those in (answers, trained))
    lost = accuracy_difference(count_pairs(before, right))
    names = {"lost": lost.difference, "lost_low": lost.low, "lost_high": lost.high}
    return {name: round(value, 6) for name, value in names.items()}


def check_lost(name: str, lost: dict[str, float], *, most: float) -> None:
    """Check that a file that is not exact has lost at most this fraction of top-1.

    Raises:
        UserError: it has lost more.
    """
    if not lost["lost"] <= most:
        raise UserError(
            f"{name} loses {100 * lost['lost']:.2f} points of top-1 on the test images (95 % interval "
            f"{100 * lost['lost_low']:.2f} to {100 * lost['lost_high']:.2f}), and export.int8_loss allows "
            f"{100 * most:g}, so nothing was exported; raise it, or take int8 out of export.formats"
        )


def check_agreement(name: str, answers: np.ndarray, trained: np.ndarray) -> None:
    """Check that the predictions are the trained model's, except for ties.

    Raises:
        UserError: a prediction or a probability differs.
    """
    second, first = np.sort(trained, axis=1)[:, -2:].T
    differ = (answers.argmax(axis=1) != trained.argmax(axis=1)) & (first - second >= TIE)
    if differ.any():
        raise UserError(
            f"{name} disagrees with the trained model on {differ.sum():,} of {len(differ):,} test images (the "
            f"first is number {differ.argmax()}), so nothing was exported; try another export.opset or train.model"
        )
    furthest = np.abs(answers - trained).max(axis=1)
    if not (furthest <= FAR).all():  # also true for nan
        raise UserError(
            f"{name} gives probabilities up to {furthest.max():.2g} from the trained model's (on test image number "
            f"{furthest.argmax()}), so nothing was exported; try another export.opset or train.model"
        )
