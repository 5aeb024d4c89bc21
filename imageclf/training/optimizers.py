"""Optimisers by name: how each is built, and the learning rates that go with it. A new one is one more function here.

torch is imported by the functions: params.yaml is checked against the names in a moment, without it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from imageclf.training.auto import Recipe


@dataclass(frozen=True)
class Hyperparameters:
    """The params of `train` that an optimiser may use."""

    lr: float
    momentum: float
    nesterov: bool
    weight_decay: float


@dataclass(frozen=True)
class Parameters:
    """Parameter groups as torch's optimisers take them. A matrix has 2 dimensions, a vector (bias, norm) at most 1."""

    matrices: list[dict[str, Any]]  # filters (O, I, H, W) too
    vectors: list[dict[str, Any]]
    flat_matrices: Callable[[], list[dict[str, Any]]]  # the matrices as (O, I*H*W), over the same memory

    def decayed(self, weight_decay: float) -> list[dict[str, Any]]:
        """All groups; vectors have no weight decay."""
        decays = [(group, weight_decay) for group in self.matrices] + [(group, 0.0) for group in self.vectors]
        return [group | {"weight_decay": decay} for group, decay in decays]


Build = Callable[[Parameters, Hyperparameters], "list[Optimizer]"]
AnyBuild = TypeVar("AnyBuild", bound=Build)


@dataclass(frozen=True)
class Kind:
    """An optimiser, and learning rates: the lowest and highest in use, one to try, the highest for trained weights.

    Trained weights are some hundredths: a rate above `gentle` overwrites them within a few steps. `momentum` and
    `weight_decay` are what auto chooses.
    """

    build: Build
    lowest: float
    highest: float
    usual: float
    gentle: float
    momentum: float = 0.0
    weight_decay: float = 0.0

    @property
    def tuning(self) -> float:
        """A rate to try with trained weights."""
        return self.gentle / 5


OPTIMIZERS: dict[str, Kind] = {}
HEAD_LR = 5.0  # of a fresh last layer behind trained ones, as a multiple of the rate
FAR = 10  # times that rate is much: with sgd at 25 times it the training loss ended at 2.90 instead of 0.29
LBFGS = "lbfgs"  # a value of `train.optimizer` too: logistic.py, which takes no steps on batches


def optimizer(
    *, lowest: float, highest: float, usual: float, gentle: float, momentum: float = 0.0, weight_decay: float = 0.0
) -> Callable[[AnyBuild], AnyBuild]:
    """Register a function as the optimiser of its name."""

    def register(build: AnyBuild) -> AnyBuild:
        OPTIMIZERS[build.__name__] = Kind(build, lowest, highest, usual, gentle, momentum, weight_decay)
        return build

    return register


# sgd moves a weight by the rate times its gradient; the others by about the rate itself, whatever the gradient is.
# Where weight decay is added to the gradient, adam and rmsprop divide it away (arXiv:1711.05101): auto is 0 there.


@optimizer(lowest=1e-3, highest=2.0, usual=0.1, gentle=0.02, momentum=0.9, weight_decay=5e-4)
def sgd(parameters: Parameters, hyper: Hyperparameters) -> "list[Optimizer]":
    from torch.optim import SGD

    nesterov = hyper.nesterov and hyper.momentum > 0
    return [SGD(parameters.decayed(hyper.weight_decay), hyper.lr, momentum=hyper.momentum, nesterov=nesterov)]


@optimizer(lowest=1e-5, highest=0.02, usual=0.001, gentle=0.005)
def adam(parameters: Parameters, hyper: Hyperparameters) -> "list[Optimizer]":
    from torch.optim import Adam

    return [Adam(parameters.decayed(hyper.weight_decay), hyper.lr)]


@optimizer(lowest=1e-5, highest=0.02, usual=0.001, gentle=0.005, weight_decay=0.02)
def adamw(parameters: Parameters, hyper: Hyperparameters) -> "list[Optimizer]":
    from torch.optim import AdamW

    return [AdamW(parameters.decayed(hyper.weight_decay), hyper.lr)]


@optimizer(lowest=1e-5, highest=0.1, usual=0.001, gentle=0.005, momentum=0.9)
def rmsprop(parameters: Parameters, hyper: Hyperparameters) -> "list[Optimizer]":
    from torch.optim import RMSprop

    return [RMSprop(parameters.decayed(hyper.weight_decay), hyper.lr, momentum=hyper.momentum)]


@optimizer(lowest=2e-3, highest=1.0, usual=0.15, gentle=0.01, momentum=0.6, weight_decay=0.02)
def muon(parameters: Parameters, hyper: Hyperparameters) -> "list[Optimizer]":
    """Muon for the matrices, AdamW for the vectors, at one learning rate."""
    from torch.optim import AdamW, Muon

    built: list[Optimizer] = []
    if parameters.matrices:
        # match_rms_adamw (arXiv:2502.16982) gives muon's update the size of adamw's, hence one rate for both.
        built.append(
            Muon(
                parameters.flat_matrices(),
                hyper.lr,
                momentum=hyper.momentum,
                nesterov=hyper.nesterov,
                weight_decay=hyper.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    if parameters.vectors:
        built.append(AdamW(parameters.vectors, hyper.lr, weight_decay=0.0))
    return built


def advice_on_rate(recipe: "Recipe", *, begun: bool) -> str:
    """A sentence where `train.lr` does not go with `train.optimizer`, else nothing.

    `begun`: the network begins from trained weights.
    """
    if recipe.optimizer == LBFGS:
        return ""
    name, rate, kind = recipe.optimizer, recipe.lr, OPTIMIZERS[recipe.optimizer]
    if begun and recipe.freeze != "backbone" and rate > kind.gentle:
        return (
            f"{name} with train.lr {rate:g} soon overwrites the weights that it begins from; "
            f"try -S train.lr=auto ({kind.tuning:g}) or -S train.freeze=backbone"
        )
    if begun and recipe.freeze == "backbone" and rate * recipe.head_lr > FAR * kind.tuning * HEAD_LR:
        return (
            f"train.lr {rate:g} times train.head_lr {recipe.head_lr:g} is a high rate for a last layer with {name}; "
            f"try -S train.lr=auto ({kind.tuning:g})"
        )
    if rate > kind.highest or (rate < kind.lowest and not begun):
        how = "high" if rate > kind.highest else "low"
        return (
            f"train.lr {rate:g} is {how} for {name}, which is used with {kind.lowest:g} to {kind.highest:g}; "
            f"try {kind.usual:g}"
        )
    return ""
