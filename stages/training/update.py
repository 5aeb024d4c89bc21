"""The second half of a step: the shards' gradients become new parameters, each tensor by one worker."""

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stages.training.board import Board
from stages.training.flat import views
from stages.training.optimizer import optimizer_tensors, restore_optimizers, set_rate

MakeOptimizers = Callable[[Sequence[Tensor], Sequence[float]], list[Optimizer]]


class Updater:
    """Changes its share of the parameters: whole tensors, so that no bit depends on who has which."""

    def __init__(
        self,
        rank: int,
        board: Board,
        like: Sequence[Tensor],
        rates: Sequence[float],
        make: MakeOptimizers,
        memory: dict[str, Tensor],
    ) -> None:
        """`like` are the trainable tensors, `rates` their shares of the learning rate.

        `memory` is what updaters kept when a run was stopped, or empty.
        """
        self._rank, self._board = rank, board
        self._mine = mine = sorted(range(len(like)), key=lambda index: like[index].numel())[rank :: board.workers]
        partial = [views(gradient, like) for gradient in board.gradients]  # of each worker
        self._sums = [[tensors[index] for tensors in partial] for index in mine]
        parameters = [nn.Parameter(views(board.parameters, like)[index]) for index in mine]
        for parameter, sums in zip(parameters, self._sums, strict=True):
            parameter.grad = sums[0]
        self._optimizers = make(parameters, [rates[index] for index in mine]) if mine else []
        restore_optimizers(self._optimizers, memory, base=board.parameters)

    @torch.no_grad()
    def squares(self, _: None) -> dict[int, float]:
        """Add up the gradients ahead of `update`: the squared norm of each tensor of this share, by its position."""
        self._add_up()
        return {index: sums[0].square().sum().item() for index, sums in zip(self._mine, self._sums, strict=True)}

    @torch.no_grad()
    def update(self, step: tuple[float, float | None]) -> None:
        """Add up the gradients and take a step along the sum, given the learning rate and None.

        Given a factor in place of None, the gradients are added up already, and are multiplied by it. The running
        statistics after a step are the mean of those that its shards leave.
        """
        rate, factor = step
        if factor is None:
            self._add_up()
        else:
            for sums in self._sums:
                sums[0].mul_(factor)
        set_rate(self._optimizers, rate)
        for optimizer in self._optimizers:
            optimizer.step()
        if self._rank == 0:
            torch.mean(self._board.shard_statistics, 0, out=self._board.statistics)

    def _add_up(self) -> None:
        """Leave the workers' gradients in the first one's, added as a fixed tree."""
        for sums in self._sums:
            level = sums
            while len(level) > 1:
                level = [left.add_(right) for left, right in zip(level[::2], level[1::2], strict=True)]

    def memory(self) -> dict[str, Tensor]:
        """What the optimisers remember of this share, by names that no other share has."""
        return optimizer_tensors(self._optimizers, base=self._board.parameters)


def clip_factor(squares: Iterable[dict[int, float]], clip_norm: float) -> float:
    """What the gradient is multiplied by to have at most the norm `clip_norm`, from the workers' `squares`.

    They are added in the order of the tensors, whoever computed them.
    """
    each = {index: square for part in squares for index, square in part.items()}
    norm = math.sqrt(sum(each[index] for index in sorted(each)))
    return min(1.0, clip_norm / norm) if norm else 1.0
