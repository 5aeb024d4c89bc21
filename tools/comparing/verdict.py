"""The verdict on the difference between two classifiers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from imageclf.evaluation.paired import Estimate, Pairs, accuracy_difference, count_pairs, images_needed, mcnemar_p
from imageclf.evaluation.predictions import Predictions
from imageclf.runtime.errors import printable
from tools.comparing.statistics import Samples, holm, mean_difference


@dataclass(frozen=True)
class ClassChange:
    """One class: its pairs, and the p of its exact McNemar test, adjusted for the number of classes."""

    name: str
    pairs: Pairs
    p: float

    @property
    def recalls(self) -> tuple[float, float]:
        """Recall of the new one, and of the base."""
        pairs = self.pairs
        return (pairs.both + pairs.fixed) / pairs.images, (pairs.both + pairs.broken) / pairs.images


def class_changes(labels: np.ndarray, new: np.ndarray, base: np.ndarray) -> list[ClassChange]:
    """Every class with test images, the largest change first; `new` and `base` tell which images are correct."""
    names = sorted(set(labels))
    pairs = [count_pairs(new[labels == name], base[labels == name]) for name in names]
    adjusted = holm([mcnemar_p(pair.fixed, pair.broken) for pair in pairs])
    changes = [ClassChange(*parts) for parts in zip(names, pairs, adjusted, strict=True)]
    return sorted(changes, key=lambda change: (change.p, -abs(change.pairs.fixed - change.pairs.broken), change.name))


ALPHA = 0.05
Verdict = Literal["better", "worse", "undecided", "same"]


@dataclass(frozen=True)
class Outcome:
    """The comparison of one run with another on the same test images."""

    pairs: Pairs
    p: float
    top1: Estimate
    loss: Estimate
    losses: tuple[float, float]  # of the new one, of the base
    needed: int | None  # test images to detect this difference with a power of 0.8
    classes: list[ClassChange]
    verdict: Verdict

    @property
    def accuracy(self) -> float:
        """Top-1 of the new one."""
        return (self.pairs.both + self.pairs.fixed) / self.pairs.images


def judge(new: Predictions, base: Predictions) -> Outcome:
    """Compare two runs; the verdict is that of the exact McNemar test on top-1."""
    pairs = count_pairs(new.correct, base.correct)
    p = mcnemar_p(pairs.fixed, pairs.broken)
    new_losses, base_losses = new.losses, base.losses
    return Outcome(
        pairs=pairs,
        p=p,
        top1=accuracy_difference(pairs),
        loss=mean_difference(new_losses - base_losses),
        losses=(float(new_losses.mean()), float(base_losses.mean())),
        needed=images_needed(pairs),
        classes=class_changes(new.labels, new.correct, base.correct),
        verdict="same" if new.md5 == base.md5 else _word(pairs.fixed - pairs.broken, significant=p < ALPHA),
    )


def judge_runs(top1: Samples) -> Verdict:
    """Better or worse only if the difference is significant over the seeds and over the images."""
    return _word(top1.over_seeds.difference, significant=top1.p < ALPHA and excludes_zero(top1.over_images))


def excludes_zero(estimate: Estimate) -> bool:
    """Whether 0 is outside the interval."""
    return estimate.low > 0 or estimate.high < 0


def _word(difference: float, *, significant: bool) -> Verdict:
    if not significant:
        return "undecided"
    return "better" if difference > 0 else "worse"


WORDS: dict[Verdict, str] = {
    "better": "better",
    "worse": "worse",
    "undecided": "no significant difference at 5 %",
    "same": "the same predictions, byte for byte",
}
CLASSES = 10  # at most, in the table
NAME = 24  # letters of a name in a table
METHODS = (
    "Intervals: 95 %; top-1 by Newcombe's method for paired proportions, loss by Student's t on paired differences."
)


def outcome_lines(outcome: Outcome, new: str, base: str) -> Iterator[str]:
    """The lines that compare run `new` with run `base`."""
    if outcome.verdict == "same":
        yield f"  {WORDS[outcome.verdict]}: every image got the same answer, top-1 {100 * outcome.accuracy:.2f} %"
        return
    pairs, top1, loss = outcome.pairs, outcome.top1, outcome.loss
    correct = pairs.both + pairs.fixed, pairs.both + pairs.broken
    wide = max(10, *(len(cut(name)) for name in (new, base)))
    yield f"           {cut(new):>{wide}}  {cut(base):>{wide}}   difference   95 % interval"
    accuracies = "  ".join(f"{f'{100 * count / pairs.images:.2f} %':>{wide}}" for count in correct)
    yield f"  top-1    {accuracies}   {points(top1)} points"
    yield f"  loss     {'  '.join(f'{value:{wide}.4f}' for value in outcome.losses)}   {nats(loss)}"
    yield ""
    yield (
        f"  {WORDS[outcome.verdict]}: {pairs.fixed:,} images fixed, {pairs.broken:,} broken; "
        f"the exact McNemar test gives p = {p_value(outcome.p)}"
    )
    if outcome.verdict == "undecided":
        yield f"  {_more_images(outcome)}"
        if excludes_zero(loss):
            yield f"  The loss, however, is significantly {'lower' if loss.difference < 0 else 'higher'}."
    else:
        yield "  This compares two runs with one seed each; compare several seeds to be sure: A1,A2,A3 B1,B2,B3."


def class_lines(classes: list[ClassChange], new: str, base: str) -> Iterator[str]:
    """The classes that changed, the largest change first."""
    moved = [change for change in classes if change.pairs.fixed or change.pairs.broken]
    if not moved:
        return
    wide = max(5, *(len(cut(change.name)) for change in moved[:CLASSES]))
    sides = [f"{cut(name):>10}" for name in (new, base)]
    yield f"  {'class':<{wide}}  {'  '.join(sides)}   fixed  broken        p"
    for change in moved[:CLASSES]:
        recalls = "  ".join(
            f"{f'{100 * recall:.1f} %':>{len(side)}}" for recall, side in zip(change.recalls, sides, strict=True)
        )
        star = " *" if change.p < ALPHA else ""
        counts = f"{change.pairs.fixed:5,}  {change.pairs.broken:6,}"
        yield f"  {cut(change.name):<{wide}}  {recalls}   {counts}   {p_value(change.p):>6}{star}"
    certain = sum(change.p < ALPHA for change in classes)
    rest = f"{len(moved) - CLASSES} more changed. " if len(moved) > CLASSES else ""
    yield (
        f"  {rest}Recall of each class; p by the exact McNemar test, with Holm's correction for "
        f"{len(classes)} classes: {certain or 'none'} changed significantly."
    )


def runs_lines(top1: Samples, loss: Samples, verdict: Verdict) -> Iterator[str]:
    """The lines that compare several runs on each side."""
    for side, runs in (("new", top1.new), ("base", top1.base)):
        values = "  ".join(f"{100 * run:.2f}" for run in runs)
        yield f"  top-1, {side:<4}  mean {100 * np.mean(runs):.2f} %, standard deviation {_spread(runs)}   ({values})"
    yield ""
    yield "                             difference   95 % interval"
    yield f"  top-1    over the seeds       {points(top1.over_seeds)} points   Welch's t, p = {p_value(top1.p)}"
    yield f"           over the images      {points(top1.over_images)} points   Student's t"
    yield f"  loss     over the seeds       {nats(loss.over_seeds)}   Welch's t, p = {p_value(loss.p)}"
    yield f"           over the images      {nats(loss.over_images)}   Student's t"
    yield ""
    yield f"  {WORDS[verdict]}: {_both_noises(top1)}"
    yield "  Seeds and images are two sources of noise. A difference counts only if it is significant over both."


def points(estimate: Estimate) -> str:
    """A difference of fractions in percentage points."""
    difference, low, high = (100 * value for value in (estimate.difference, estimate.low, estimate.high))
    return f"{difference:+10.2f}   {low:+.2f} to {high:+.2f}"


def nats(estimate: Estimate) -> str:
    """A difference of losses."""
    return f"{estimate.difference:+10.4f}   {estimate.low:+.4f} to {estimate.high:+.4f}"


def p_value(p: float) -> str:
    """A p-value with its significant digits."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}" if p else "<1e-300"


def cut(name: str) -> str:
    """A name cut to fit a table. It keeps both ends: long names often begin alike."""
    line = printable(name)
    return line if len(line) <= NAME else f"{line[: NAME // 2]}…{line[1 - NAME // 2 :]}"


def _more_images(outcome: Outcome) -> str:
    images = outcome.pairs.images
    if outcome.needed is None:
        return "As many images were fixed as broken. The difference may still be anything in the interval above."
    if outcome.needed <= images:
        return f"A difference of this size is found 4 times in 5 with {outcome.needed:,} images: it was close."
    return (
        f"Detecting a difference of this size 4 times in 5 takes about {outcome.needed:,} test images; "
        f"there are {images:,}."
    )


def _both_noises(top1: Samples) -> str:
    seeds = "significant" if top1.p < ALPHA else "not significant"
    images = "significant" if excludes_zero(top1.over_images) else "not significant"
    return f"{seeds} over the seeds, {images} over the images"


def _spread(runs: list[float]) -> str:
    return f"{100 * np.std(runs, ddof=1):.2f}"
