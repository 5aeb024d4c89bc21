"""Learning rates that an optimiser is known not to go with, said before the first step."""

from stages.params.schema import TrainParams

# Lowest and highest that are in use, and one to try. Adam and muon move every weight by about the rate itself in a
# step, whatever its gradient is; sgd by the rate times the gradient.
USUAL = {
    "sgd": (1e-3, 2.0, 0.1),
    "adam": (1e-5, 0.02, 0.001),
    "adamw": (1e-5, 0.02, 0.001),
    "rmsprop": (1e-5, 0.1, 0.001),
    "muon": (2e-3, 1.0, 0.15),
}
# Trained weights are some hundredths: rates above these overwrite them within a few steps.
GENTLE = {"sgd": 0.1, "adam": 0.005, "adamw": 0.005, "rmsprop": 0.005, "muon": 0.01}


def advice_on_rate(recipe: TrainParams, *, begun: bool, fresh_head: bool) -> str:
    """A sentence where `train.lr` does not go with `train.optimizer`, else nothing.

    `begun`: the network begins from trained weights; `fresh_head`: but for its last layer.
    """
    name, rate = recipe.optimizer, recipe.lr
    lowest, highest, usual = USUAL[name]
    if begun and recipe.freeze != "backbone" and rate > GENTLE[name]:
        head = " -S train.head_lr=5" if fresh_head else ""
        return (
            f"{name} with train.lr {rate:g} soon overwrites the weights that it begins from; "
            f"try -S train.optimizer=adamw -S train.lr=0.001{head}, or -S train.freeze=backbone"
        )
    if rate > highest or (rate < lowest and not begun):
        how = "high" if rate > highest else "low"
        return f"train.lr {rate:g} is {how} for {name}, which is used with {lowest:g} to {highest:g}; try {usual:g}"
    return ""
