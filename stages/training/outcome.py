"""Which of a run's weights are its result: averaged or not, of the last epoch or of the best; and when to stop."""

from contextlib import AbstractContextManager, nullcontext

from torch import Tensor

from stages.training.average import Average
from stages.training.network import Network

Row = dict[str, float]  # of metrics/history.csv: epoch, train_loss, train_top1, val_loss, val_top1, lr
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
