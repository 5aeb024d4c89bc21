"""metrics/evaluate.json: test scores, and the temperature and threshold that come from validation."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from imageclf.evaluation.calibration import (
    choose_limit,
    choose_threshold,
    expected_calibration_error,
    fit_temperature,
    reliability_table,
    selected,
)
from imageclf.evaluation.scores import Answers, wilson_interval
from imageclf.runtime.errors import some

Metric = Callable[[Answers], float]
METRICS: dict[str, Metric] = {}
PRECISIONS = (80, 90, 95, 98, 99)  # percent of answers, for which thresholds are given
FITS_BETTER = 3.841  # twice the log likelihood that one more parameter gains by chance in 5 % of cases (Wilks 1938)
FALSE_ALARMS = 0.05  # of pictures like the training images, that may be called unlike them
FEW = 0.1  # width of the 95 % interval of top-1: where it is wider, the test images are called few
BY_CHANCE = 0.01  # probability of a difference between validation and test, below which it is remarked


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
    """The temperature fitted on validation; None if 1 fits it as well, by a likelihood ratio test at 5 %.

    So it is without images. Without mistakes no temperature would be too low.
    """
    if val.correct.all():
        return None
    temperature = fit_temperature(val.logits, val.labels)
    gained = 2 * (val.losses.sum() - val.at(temperature).losses.sum())
    return temperature if gained > FITS_BETTER else None


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
    threshold = choose_threshold(val.confidence, val.correct, precision) if precision else None
    if threshold is None:
        return {}
    figures: dict[str, Any] = {"threshold": threshold, "asked": precision}
    kept, correct = selected(val.confidence, val.correct, threshold)
    figures |= {"val_coverage": round(kept / len(val), 6), "val_precision": round(correct / kept, 6)}
    kept, correct = selected(test.confidence, test.correct, threshold)
    figures |= _with_interval("coverage", kept, len(test))
    return figures | _with_interval("precision", correct, kept)


def thresholds_by_precision(val: Answers) -> dict[str, float]:
    """For each of PRECISIONS that validation shows, by its percentage, the lowest threshold that reaches it there."""
    chosen = {str(percent): choose_threshold(val.confidence, val.correct, percent / 100) for percent in PRECISIONS}
    return {percent: threshold for percent, threshold in chosen.items() if threshold is not None}


def unlike_figures(test: Answers, val: Answers) -> dict[str, Any]:
    """The entropy above which an answer's picture is called unlike the training images, and how often test's are.

    Nothing if the validation images are too few. The entropy of the probabilities is all that the exported files can
    tell, and finds more than the highest probability does (docs/export-and-use.md).
    """
    limit = choose_limit(val.entropy, FALSE_ALARMS)
    if limit is None:
        return {}
    limit = round(limit, 6)
    return {"entropy": limit} | _with_interval("false_alarms", int((test.entropy > limit).sum()), len(test))


def both_reliabilities(test: Answers, shipped: Answers) -> pd.DataFrame:
    """metrics/reliability.csv: the reliability table as shipped and, if a temperature makes another one, as trained."""
    answers = {"as shipped": shipped} | ({} if shipped is test else {"as trained": test})
    return pd.concat(
        reliability_table(those.highest, those.correct).assign(probabilities=name) for name, those in answers.items()
    )


def findings(scores: dict[str, Any], test: Answers, val: Answers, *, untested: Sequence[str] = ()) -> list[str]:
    """What the scores cannot carry, or what is odd about them, in sentences.

    `untested` are the classes without test images.
    """
    from scipy.stats import fisher_exact  # here, because its import takes a second

    found = []
    low, high = scores["top1_low"], scores["top1_high"]
    if high - low > FEW:
        found.append(
            f"{len(test):,} test images are few: on others, top-1 may well be anything from {math.floor(100 * low)} to "
            f"{math.ceil(100 * high)} %"
        )
    if untested:
        has, of = ("has", "it") if len(untested) == 1 else ("have", "them")
        found.append(f"{some(untested)} {has} no test image, so nothing is known of {of}")
    counts = [[int(each.correct.sum()), int((~each.correct).sum())] for each in (val, test)]
    if len(val) and fisher_exact(counts).pvalue < BY_CHANCE:
        tops = [100 * right / (right + wrong) for right, wrong in counts]
        found.append(
            f"top-1 is {tops[0]:.1f} % on validation and {tops[1]:.1f} % on test, which differ by more than chance: "
            "look for copies between training and one of them, for a test split that was collected in another way, and "
            "for params that were chosen on validation many times"
        )
    return found


def _with_interval(name: str, counted: int, count: int) -> dict[str, float]:
    """A fraction and its 95 % interval; nothing, of nothing."""
    if not count:
        return {}
    low, high = wilson_interval(counted, count)
    return {
        name: round(counted / count, 6),
        f"{name}_low": round(low, 6),
        f"{name}_high": round(high, 6),
    }
