"""The learning rate over a run, as a share of `train.lr`."""

import math


def rate_factor(schedule: str, step: int, *, total: int, warmup: float, final: float, drop: float) -> float:
    """The factor of a step, counted from 0 in a run of `total`.

    `warmup` is the share of the run with a straight rise, `final` the factor that cosine and one_cycle end near,
    `drop` the factor that the schedule step has come to.
    """
    rise = warmup * total
    if step < rise:
        return (step + 1) / (rise + 1)
    progress = (step - rise) / max(total - rise, 1)  # 0 to just below 1
    if schedule == "cosine":
        return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2
    if schedule == "one_cycle":
        return final + (1 - final) * (1 - progress)
    if schedule == "step":
        return drop
    return 1.0
