"""metrics/evaluate.json: the scores of the test split, and what validation says about how far to trust an answer."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from imageclf.evaluation.calibration import (
    calibrated,
    choose_threshold,
    expected_calibration_error,
    fit_temperature,
    reliability_table,
    selected,
)
from imageclf.evaluation.scores import Answers, cross_entropy, top_k_accuracy, wilson_interval

Metric = Callable[[Answers], float]
METRICS: dict[str, Metric] = {}


def metric(function: Metric) -> Metric:
    """Register a function of a split's answers as the metric of its name. A new one is one more function here."""
    METRICS[function.__name__] = function
    return function


@metric
def loss(answers: Answers) -> float:
    """Mean cross-entropy, in nats."""
    return cross_entropy(answers.logits, answers.labels)


@metric
def ece(answers: Answers) -> float:
    """Expected calibration error."""
    return expected_calibration_error(reliability_table(answers.probabilities, answers.labels))


def accuracy_figures(test: Answers) -> dict[str, Any]:
    """Every metric, images; top1, and top5 of more than 5 classes, each with the ends of its 95 % interval."""
    figures: dict[str, Any] = {name: round(measure(test), 6) for name, measure in METRICS.items()}
    figures["images"] = len(test)
    for k in (1, 5) if test.logits.shape[1] > 5 else (1,):
        accuracy = top_k_accuracy(test.probabilities, test.labels, k)
        figures |= _fraction(f"top{k}", round(accuracy * len(test)), len(test))
    return figures


def calibration_figures(test: Answers, val: Answers) -> dict[str, Any]:
    """The temperature that validation asks for, and loss and ece of the test split at it.

    Empty where validation has no mistakes, for then no temperature is too low, and where it has no images.
    """
    if val.right.all():
        return {}
    temperature = fit_temperature(val.logits, val.labels)
    table = reliability_table(calibrated(test.logits, temperature), test.labels)
    return {
        "temperature": temperature,
        "loss": round(abs(cross_entropy(test.logits.astype(float) / temperature, test.labels)), 6),  # -0.0 is none
        "ece": round(expected_calibration_error(table), 6),
    }


def selective_figures(test: Answers, val: Answers, precision: float) -> dict[str, Any]:
    """The threshold that gives `precision` on validation, and what it gives on both splits; empty if there is none."""
    threshold = choose_threshold(val.confidence, val.right, precision) if precision and len(val) else None
    if threshold is None:
        return {}
    figures: dict[str, Any] = {"threshold": threshold, "asked": precision}
    sure, right = selected(val.confidence, val.right, threshold)
    figures |= {"val_coverage": round(sure / len(val), 6), "val_precision": round(right / sure, 6)}
    sure, right = selected(test.confidence, test.right, threshold)
    figures |= _fraction("coverage", sure, len(test))
    return figures | _fraction("precision", right, sure)


def both_reliabilities(test: Answers, temperature: float | None) -> pd.DataFrame:
    """metrics/reliability.csv: the reliability table as trained and, where there is one, at the temperature."""
    tables = {"as trained": test.probabilities}
    if temperature is not None:
        tables["with temperature"] = calibrated(test.logits, temperature)
    return pd.concat(
        reliability_table(probabilities, test.labels).assign(probabilities=name)
        for name, probabilities in tables.items()
    )


def _fraction(name: str, right: int, count: int) -> dict[str, float]:
    low, high = wilson_interval(right, count)
    return {
        name: round(right / count if count else 0.0, 6),
        f"{name}_low": round(low, 6),
        f"{name}_high": round(high, 6),
    }
