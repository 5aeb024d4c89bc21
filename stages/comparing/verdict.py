"""One run against another, and the word for what came out."""

from dataclasses import dataclass
from typing import Literal

from stages.comparing.classes import ClassChange, class_changes
from stages.comparing.paired import (
    Estimate,
    Pairs,
    accuracy_difference,
    count_pairs,
    images_needed,
    mcnemar_p,
    mean_difference,
)
from stages.comparing.predictions import Predictions
from stages.comparing.seeds import Samples

ALPHA = 0.05
Verdict = Literal["better", "worse", "undecided", "same"]


@dataclass(frozen=True)
class Outcome:
    """All that is said of one run against another on the same test images."""

    pairs: Pairs
    p: float
    top1: Estimate
    loss: Estimate
    losses: tuple[float, float]  # of the new one, of the base
    needed: int | None  # test images that would tell this difference, 4 times in 5
    classes: list[ClassChange]
    verdict: Verdict

    @property
    def share(self) -> float:
        """Top-1 of the new one."""
        return (self.pairs.both + self.pairs.fixed) / self.pairs.images


def judge(new: Predictions, base: Predictions) -> Outcome:
    """Compare two runs; the verdict is that of the exact McNemar test on top-1."""
    pairs = count_pairs(new.right, base.right)
    p = mcnemar_p(pairs.fixed, pairs.broken)
    new_losses, base_losses = new.losses, base.losses
    return Outcome(
        pairs=pairs,
        p=p,
        top1=accuracy_difference(pairs),
        loss=mean_difference(new_losses - base_losses),
        losses=(float(new_losses.mean()), float(base_losses.mean())),
        needed=images_needed(pairs),
        classes=class_changes(new.labels, new.right, base.right),
        verdict="same" if new.md5 == base.md5 else _word(pairs.fixed - pairs.broken, told_apart=p < ALPHA),
    )


def judge_runs(top1: Samples) -> Verdict:
    """Better or worse only where neither other seeds nor other images would be expected to turn it."""
    return _word(top1.over_seeds.difference, told_apart=top1.p < ALPHA and excludes_zero(top1.over_images))


def excludes_zero(estimate: Estimate) -> bool:
    """Whether a difference is told apart from none by its interval."""
    return estimate.low > 0 or estimate.high < 0


def _word(difference: float, *, told_apart: bool) -> Verdict:
    if not told_apart:
        return "undecided"
    return "better" if difference > 0 else "worse"
