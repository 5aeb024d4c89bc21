"""Which of a run's weights are its result, averaged or not, of the last epoch or of the best; and its metrics."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pandas as pd
import torch
from torch import Tensor

from imageclf.training.auto import Recipe
from imageclf.training.optimizers import LBFGS
from imageclf.training.shared import Network


class Average:
    """Follows the parameters and the running statistics of a network; its counters stay the network's own."""

    def __init__(self, network: Network, decay: float) -> None:
        self._network, self._decay = network, decay
        self._averages = [tensor.clone() for tensor in self._current()]

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take in the weights after `step` steps.

        The first steps count for more than `decay` would let them, so that the first weights are soon forgotten.
        """
        decay = min(self._decay, step / (step + 9))
        torch._foreach_lerp_(self._averages, self._current(), 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block the network has the average for its weights."""
        kept = [tensor.clone() for tensor in self._current()]
        self.settle()
        try:
            yield
        finally:
            _copy(kept, self._current())

    def settle(self) -> None:
        """Give the network the average for good."""
        _copy(self._averages, self._current())

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint needs of it, by name."""
        return {f"average.{index}": tensor for index, tensor in enumerate(self._averages)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Be what `tensors` gave; other names are passed over."""
        _copy([tensors[name] for name in self.tensors()], self._averages)

    def _current(self) -> list[Tensor]:
        # Again each time: parameters move in memory when the workers begin.
        return [tensor.detach() for tensor in (*self._network.trainable, *self._network.statistics)]


def _copy(sources: list[Tensor], targets: list[Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)


Row = dict[str, float]  # of metrics/history.csv
COLUMNS = ["epoch", "train_loss", "val_loss", "train_top1", "val_top1", "lr"]
BEST = "best."  # before the names of its tensors in a checkpoint


def best_row(history: list[Row]) -> Row:
    """The epoch with the best validation top-1, the earlier of equals."""
    return max(history, key=lambda row: row["val_top1"])


def has_stalled(history: list[Row], patience: int) -> bool:
    """Whether validation top-1 has not risen for `patience` epochs; 0 waits for ever."""
    return patience > 0 and bool(history) and history[-1]["epoch"] - best_row(history)["epoch"] >= patience


class Outcome:
    """Keeps what the result is made from, while the network itself is trained on."""

    def __init__(self, network: Network, *, ema: float, keep: str) -> None:
        self._network, self._keep = network, keep
        self._average = Average(network, ema) if ema else None
        self._best: dict[str, Tensor] = {}

    def follow(self, step: int) -> None:
        """Take in the weights after `step` steps."""
        if self._average:
            self._average.follow(step)

    def shown(self) -> AbstractContextManager[None]:
        """Inside the block the network is what validation should see."""
        return self._average.in_place() if self._average else nullcontext()

    def consider(self, history: list[Row]) -> None:
        """Keep the weights that are shown now, if the epoch that has just ended is the best so far."""
        if self._keep == "best" and best_row(history) is history[-1]:
            self._best = {name: tensor.clone() for name, tensor in self._network.tensors().items()}

    def settle(self) -> None:
        """Give the network the result for good."""
        if self._best:
            self._network.restore(self._best)
        elif self._average:
            self._average.settle()

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint needs of it, by name."""
        average = self._average.tensors() if self._average else {}
        return average | {f"{BEST}{name}": tensor for name, tensor in self._best.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Be what `tensors` gave; other names are passed over."""
        if self._average:
            self._average.restore(tensors)
        self._best = {name.removeprefix(BEST): tensors[name] for name in tensors if name.startswith(BEST)}


def history_table(history: list[Row]) -> pd.DataFrame:
    """metrics/history.csv: a row for each epoch; without validation images, its columns are empty."""
    return pd.DataFrame(history, columns=COLUMNS).round(6)


def metrics_of(history: list[Row], *, keep: str, parameters: int) -> dict[str, object]:
    """metrics/train.json: the scores of the epoch that is kept, and which it is where it is the best."""
    row = _kept_row(history, keep)
    metrics: dict[str, object] = {"parameters": parameters}
    if keep == "best":
        metrics["epoch"] = row["epoch"]
    for split in ("train", "val"):
        scores = {name: round(row[f"{split}_{name}"], 6) for name in ("loss", "top1") if f"{split}_{name}" in row}
        if scores:
            metrics[split] = scores
    return metrics


def ending_of(history: list[Row], recipe: Recipe) -> str:
    """Which epoch's weights these are, how good they are, and whether training stopped early."""
    row, words = _kept_row(history, recipe.keep), ""
    if recipe.keep == "best":
        words += f" of epoch {row['epoch']}"
    if "val_top1" in row:
        words += f", val top-1 {100 * row['val_top1']:.2f} %"
    if len(history) < recipe.epochs and recipe.optimizer != LBFGS:
        words += f", stopped at epoch {len(history)}/{recipe.epochs}: no better one since "
        words += f"{best_row(history[recipe.freeze_epochs :])['epoch']}"
    return words


def _kept_row(history: list[Row], keep: str) -> Row:
    return best_row(history) if keep == "best" else history[-1]
