"""Optimisers by name, and the learning rates that go with each."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from imageclf.config.train import TrainParams

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


def make_optimizers(
    name: str,
    parameters: Sequence[Tensor],
    rates: Sequence[float],
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> list[Optimizer]:
    """One optimiser, or two: muon takes the matrices and filters, and adamw what is left, at one learning rate.

    Biases and norms (one dimension) have no weight decay. `rates` are the parameters' shares of the learning rate.
    """
    matrices = _groups([(tensor, rate) for tensor, rate in zip(parameters, rates, strict=True) if tensor.dim() > 1])
    vectors = _groups([(tensor, rate) for tensor, rate in zip(parameters, rates, strict=True) if tensor.dim() <= 1])
    if name == "muon":
        # match_rms_adamw (arXiv:2502.16982) gives muon's update the size of adamw's, hence one rate for both.
        flat = [group | {"params": [_as_matrix(tensor) for tensor in group["params"]]} for group in matrices]
        muon = partial(torch.optim.Muon, nesterov=nesterov, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        found: list[Optimizer] = [muon(flat, lr=lr, momentum=momentum)] if flat else []
        return [*found, torch.optim.AdamW(vectors, lr=lr, weight_decay=0.0)] if vectors else found
    groups = [group | {"weight_decay": weight_decay} for group in matrices]
    groups += [group | {"weight_decay": 0.0} for group in vectors]
    if name == "sgd":
        return [torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0)]
    if name == "rmsprop":
        return [torch.optim.RMSprop(groups, lr=lr, momentum=momentum)]
    return [{"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name](groups, lr=lr)]


def _groups(parameters: Sequence[tuple[Tensor, float]]) -> list[dict[str, Any]]:
    """Parameters and their shares of the learning rate, as a group for each share."""
    shares = sorted({share for _, share in parameters})
    return [{"params": [tensor for tensor, own in parameters if own == share], "share": share} for share in shares]


def optimizer_tensors(optimizers: list[Optimizer], *, base: Tensor) -> dict[str, Tensor]:
    """All that the optimisers remember, by name; the parameters are views into `base`."""
    return {
        f"{prefix}{name}": value
        for prefix, optimizer, parameter in _each(optimizers, base)
        for name, value in optimizer.state[parameter].items()
    }


def restore_optimizers(optimizers: list[Optimizer], tensors: dict[str, Tensor], *, base: Tensor) -> None:
    """Let the optimisers remember what `optimizer_tensors` gave; other names are passed over."""
    for prefix, optimizer, parameter in _each(optimizers, base):
        for name, value in tensors.items():
            if name.startswith(prefix):
                # As the optimiser makes them: in the parameter's layout, but for its count of steps.
                kept = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
                optimizer.state[parameter][name.removeprefix(prefix)] = kept


def _each(optimizers: list[Optimizer], base: Tensor) -> Iterator[tuple[str, Optimizer, Tensor]]:
    """Each parameter with a prefix for its names: where in `base` it begins, which no division of work changes."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                begin = (parameter.data_ptr() - base.data_ptr()) // base.element_size()
                yield f"optimizer.{begin}.", optimizer, parameter


def set_rate(optimizers: list[Optimizer], lr: float) -> None:
    """Give every group its share of the learning rate `lr`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr * group["share"]


def _as_matrix(tensor: Tensor) -> nn.Parameter:
    """A filter (O, I, H, W), channels last in memory, as a matrix (O, H*W*I) over the same memory; its gradient too."""

    def flat(values: Tensor) -> Tensor:
        return values.permute(0, 2, 3, 1).view(len(values), -1) if values.dim() == 4 else values.view(len(values), -1)

    matrix = nn.Parameter(flat(tensor.detach()))
    assert tensor.grad is not None
    matrix.grad = flat(tensor.grad)
    return matrix
