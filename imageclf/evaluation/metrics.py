"""metrics/evaluate.json: test scores, and the temperature and threshold that come from validation."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from imageclf.evaluation.calibration import (
    choose_threshold,
    expected_calibration_error,
    fit_temperature,
    reliability_table,
    selected,
)
from imageclf.evaluation.scores import Answers, wilson_interval

Metric = Callable[[Answers], float]
METRICS: dict[str, Metric] = {}
PRECISIONS = (80, 90, 95, 98, 99)  # percent of answers, for which thresholds are given


def metric(function: Metric) -> Metric:
    """Register a function of a split's answers as a metric under its own name."""
    METRICS[function.__name__] = function
    return function


@metric
def loss(answers: Answers) -> float:
    """Mean cross-entropy, in nats."""
    return float(answers.losses.mean())


@metric
def ece(answers: Answers) -> float:
    """Expected calibration error."""
    return expected_calibration_error(reliability_table(answers.highest, answers.correct))


def accuracy_figures(test: Answers) -> dict[str, Any]:
    """Every metric, and images; top1, and top5 for more than 5 classes, each with its 95 % interval."""
    figures: dict[str, Any] = {name: round(measure(test), 6) for name, measure in METRICS.items()}
    figures["images"] = len(test)
    for k in (1, 5) if test.logits.shape[1] > 5 else (1,):
        figures |= _with_interval(f"top{k}", int((test.ahead < k).sum()), len(test))
    return figures


def temperature_of(val: Answers) -> float | None:
    """The temperature fitted on validation; None without images or mistakes there: then none is too low."""
    return None if val.correct.all() else fit_temperature(val.logits, val.labels)


def calibration_figures(test: Answers, temperature: float | None) -> dict[str, float]:
    """The temperature, and the loss and ece of the test split's answers as trained; nothing without a temperature."""
    if temperature is None:
        return {}
    return {
        "temperature": temperature,
        "loss_as_trained": round(loss(test), 6),
        "ece_as_trained": round(ece(test), 6),
    }


def selective_figures(test: Answers, val: Answers, precision: float) -> dict[str, Any]:
    """The threshold that reaches `precision` on validation, with coverage and precision on both splits; or nothing."""
    threshold = choose_threshold(val.confidence, val.correct, precision) if precision and len(val) else None
    if threshold is None:
        return {}
    figures: dict[str, Any] = {"threshold": threshold, "asked": precision}
    kept, correct = selected(val.confidence, val.correct, threshold)
    figures |= {"val_coverage": round(kept / len(val), 6), "val_precision": round(correct / kept, 6)}
    kept, correct = selected(test.confidence, test.correct, threshold)
    figures |= _with_interval("coverage", kept, len(test))
    return figures | _with_interval("precision", correct, kept)


def thresholds_by_precision(val: Answers) -> dict[str, float]:
    """For each of PRECISIONS that validation can show, by its percentage, the lowest threshold that reaches it there.

    It takes as many answers as one mistake would need: for 99 % there must be 100.
    """
    found = {}
    for percent in PRECISIONS:
        threshold = choose_threshold(val.confidence, val.correct, percent / 100) if len(val) else None
        if threshold is not None and (100 - percent) * selected(val.confidence, val.correct, threshold)[0] >= 100:
            found[str(percent)] = threshold
    return found


def both_reliabilities(test: Answers, shipped: Answers) -> pd.DataFrame:
    """metrics/reliability.csv: the reliability table as shipped and, if a temperature makes another one, as trained."""
    answers = {"as shipped": shipped} | ({} if shipped is test else {"as trained": test})
    return pd.concat(
        reliability_table(those.highest, those.correct).assign(probabilities=name) for name, those in answers.items()
    )


def _with_interval(name: str, counted: int, count: int) -> dict[str, float]:
    low, high = wilson_interval(counted, count)
    return {
        name: round(counted / count if count else 0.0, 6),
        f"{name}_low": round(low, 6),
        f"{name}_high": round(high, 6),
    }
