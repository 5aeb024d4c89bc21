"""The update: gradients of all workers added as a fixed tree, clipped, and a step of the optimiser along the sum.

With several ranks, add_up first leaves each worker's share of this rank's sum on the board; the ranks add those.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from imageclf.models.classifier import channels_last_on
from imageclf.training.optimizers import OPTIMIZERS, Hyperparameters, Parameters
from imageclf.training.shared import Board, Network, owned_by, views

MakeOptimizers = Callable[[Sequence[Tensor], Sequence[float]], list[Optimizer]]


@dataclass(frozen=True)
class Step:
    """What a step of the optimisers needs to know."""

    rate: float  # the learning rate
    head_only: bool  # only the last layer is trained
    added: bool  # the gradients are added up already
    factor: float | None  # what they are multiplied by, if by anything


class Updater:
    """Updates its part of the parameters: whole tensors, so that no bit depends on which worker has which."""

    def __init__(
        self,
        worker: int,
        board: Board,
        network: Network,
        make: MakeOptimizers,
        memory: dict[str, Tensor],
    ) -> None:
        """`memory` is what updaters kept when a run was stopped, or empty."""
        self._worker, self._board = worker, board
        like, rates = network.trainable, network.rates

        def dealt(indices: Iterable[int]) -> list[int]:
            return sorted(indices, key=lambda index: like[index].numel())[worker :: board.workers]

        partial = [views(gradient, like) for gradient in board.gradients]  # of each worker
        self._sums = [[tensors[index] for tensors in partial] for index in dealt(range(len(like)))]
        mine = dealt(owned_by(board.ranks, like)[board.rank])
        self._gradients = {index: partial[0][index] for index in mine}
        parameters = {index: nn.Parameter(views(board.parameters, like)[index]) for index in mine}
        for index, gradient in self._gradients.items():
            parameters[index].grad = gradient

        def made(indices: list[int]) -> list[Optimizer]:
            return make([parameters[index] for index in indices], [rates[index] for index in indices])

        body = [index for index in mine if index in network.body]
        head = [index for index in mine if index not in network.body]
        self._head = made(head) if head else []  # or all parameters, if none waits for the last layer's
        self._optimizers = self._head + (made(body) if body else [])
        restore_optimizers(self._optimizers, memory, base=board.parameters)

    @torch.no_grad()
    def add_up(self, _: None = None) -> None:
        """Leave the workers' gradients in the first one's, added as a fixed tree."""
        for sums in self._sums:
            level = sums
            while len(level) > 1:
                level = [left.add_(right) for left, right in zip(level[::2], level[1::2], strict=True)]

    @torch.no_grad()
    def squares(self, _: None) -> dict[int, float]:
        """The squared norm of each added-up gradient of this part, by its position."""
        squares = [gradient.square().sum() for gradient in self._gradients.values()]
        return dict(zip(self._gradients, torch.stack(squares).tolist() if squares else [], strict=True))

    @torch.no_grad()
    def update(self, step: Step) -> None:
        """Take a step along the gradients.

        The running statistics after a step are the mean of those that its shards leave.
        """
        if not step.added:
            self.add_up()
        if step.factor is not None and self._gradients:
            torch._foreach_mul_(list(self._gradients.values()), step.factor)  # one kernel on a GPU
        set_rate(self._optimizers, step.rate)
        for optimizer in self._head if step.head_only else self._optimizers:
            optimizer.step()
        if self._worker == 0:
            torch.mean(self._board.shard_statistics, 0, out=self._board.statistics)

    def memory(self) -> dict[str, Tensor]:
        """The optimisers' state for this part, by names that no other part has."""
        return optimizer_tensors(self._optimizers, base=self._board.parameters)


def clip_factor(squares: Iterable[float], clip_norm: float) -> float:
    """What the gradient is multiplied by to have at most the norm `clip_norm`, from each tensor's squared norm."""
    norm = math.sqrt(sum(squares))
    return min(1.0, clip_norm / norm) if norm else 1.0


GROWTH = 2000  # finite steps after which the loss scale doubles
LARGEST_SCALE = 2.0**24


@torch.no_grad()
def unscale(gradient: Tensor, scaling: Tensor, *, finite: Tensor) -> None:
    """Divide a scaled gradient (P,) by the loss scale, and choose the next one; the host does not wait for it.

    A gradient that is not `finite`, bool (), becomes 0, and the scale is halved (arXiv:1710.03740).
    """
    gradient.div_(scaling[0]).masked_fill_(~finite, 0)
    steps = scaling[1] + 1
    grows = steps >= GROWTH
    factor = torch.where(finite, torch.where(grows, 2.0, 1.0), 0.5)
    scaling[0] = (scaling[0] * factor).clamp(1, LARGEST_SCALE)
    scaling[1] = torch.where(finite & ~grows, steps, 0)


def make_optimizers(
    name: str, parameters: Sequence[Tensor], rates: Sequence[float], *, hyper: Hyperparameters
) -> list[Optimizer]:
    """What `train.optimizer` is made of; `rates` are the parameters' multiples of the learning rate."""
    matrices, vectors = (
        _groups([(tensor, rate) for tensor, rate in zip(parameters, rates, strict=True) if (tensor.dim() > 1) == many])
        for many in (True, False)
    )

    def flat() -> list[dict[str, Any]]:
        return [group | {"params": [_as_matrix(tensor) for tensor in group["params"]]} for group in matrices]

    return OPTIMIZERS[name].build(Parameters(matrices, vectors, flat), hyper)


def _groups(parameters: Sequence[tuple[Tensor, float]]) -> list[dict[str, Any]]:
    """Parameters and their multiples of the learning rate, as a group for each multiple."""
    scales = sorted({scale for _, scale in parameters})
    return [{"params": [tensor for tensor, own in parameters if own == scale], "lr_scale": scale} for scale in scales]


def optimizer_tensors(optimizers: list[Optimizer], *, base: Tensor) -> dict[str, Tensor]:
    """The state of all optimisers, by name; the parameters are views into `base`."""
    return {
        f"{prefix}{name}": value
        for prefix, optimizer, parameter in _each(optimizers, base)
        for name, value in optimizer.state[parameter].items()
    }


def restore_optimizers(optimizers: list[Optimizer], tensors: dict[str, Tensor], *, base: Tensor) -> None:
    """Give the optimisers the state that `optimizer_tensors` gave; other names are passed over."""
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
    """Give every group its multiple of the learning rate `lr`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]


def _as_matrix(tensor: Tensor) -> nn.Parameter:
    """A filter (O, I, H, W) as a matrix (O, H*W*I), or (O, I*H*W), over the same memory; its gradient too."""

    def flat(values: Tensor) -> Tensor:
        if values.dim() == 4 and channels_last_on(values.device):
            values = values.permute(0, 2, 3, 1)
        return values.view(len(values), -1)

    matrix = nn.Parameter(flat(tensor.detach()))
    assert tensor.grad is not None
    matrix.grad = flat(tensor.grad)
    return matrix
