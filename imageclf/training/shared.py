"""What the processes of a run share: tensors laid one behind another, and the network whose tensors they are."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from imageclf.models.classifier import Classifier, channels_last_on
from imageclf.models.registry import last_layer
from imageclf.runtime.errors import MachineError
from imageclf.runtime.platform import SHARED_MEMORY, free_shared_memory
from imageclf.weights.freezing import blocks_of, frozen_modules


class Network:
    """The tensors of a classifier, by how they change."""

    def __init__(
        self, classifier: Classifier, *, head_lr: float = 1.0, layer_decay: float = 1.0, head_first: bool = False
    ) -> None:
        """The last layer's learning rate is `head_lr` times the run's; a block's is `layer_decay` times the next one's.

        `head_first`: the run begins with the last layer alone.
        """
        self.classifier = classifier
        self.trainable: list[nn.Parameter] = [each for each in classifier.parameters() if each.requires_grad]
        self.rates = _rates(self.trainable, classifier, head_lr, layer_decay)  # of each, as multiples of the run's
        self.body = _body(self.trainable, classifier) if head_first else set()  # what waits, by its position
        self._frozen = classifier.frozen
        buffers = list(classifier.network.buffers())
        # Batch norm's running mean and variance, and its count of batches: a forward pass changes them in place.
        self.statistics = [buffer for buffer in buffers if buffer.is_floating_point()]
        self.counters = [buffer for buffer in buffers if not buffer.is_floating_point()]

    def freeze_body(self, frozen: bool) -> None:
        """Freeze what waits for the last layer, or train it too."""
        if not self.body or frozen != self.trainable[min(self.body)].requires_grad:
            return
        for index in self.body:
            self.trainable[index].requires_grad_(not frozen)
        self.classifier.frozen = tuple(frozen_modules(self.classifier.network)) if frozen else self._frozen

    def tensors(self) -> dict[str, Tensor]:
        """All of them by name."""
        kinds: dict[str, Sequence[Tensor]] = {
            "trainable": self.trainable,
            "statistics": self.statistics,
            "counters": self.counters,
        }
        return {f"{kind}.{index}": each.detach() for kind in kinds for index, each in enumerate(kinds[kind])}

    def is_finite(self) -> bool:
        """Whether every value is a number."""
        return bool(torch.stack([torch.isfinite(each).all() for each in self.tensors().values()]).all())

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Give each the value that `tensors` has under its name; other names are passed over."""
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])


def _rates(
    trainable: Sequence[nn.Parameter], classifier: Classifier, head_lr: float, layer_decay: float
) -> list[float]:
    """The last block has the run's rate; what is in no block, such as a class token, has that of the first one."""
    if head_lr == layer_decay == 1.0:
        return [1.0] * len(trainable)
    rates = dict.fromkeys(_ids(last_layer(classifier.network)[1]), head_lr)
    blocks = blocks_of(classifier.network)
    for depth, block in enumerate(reversed(blocks)):
        rates = dict.fromkeys(_ids(block), layer_decay**depth) | rates
    return [rates.get(id(parameter), layer_decay ** max(0, len(blocks) - 1)) for parameter in trainable]


def _body(trainable: Sequence[nn.Parameter], classifier: Classifier) -> set[int]:
    head = _ids(last_layer(classifier.network)[1])
    return {index for index, parameter in enumerate(trainable) if id(parameter) not in head}


def _ids(module: nn.Module) -> set[int]:
    return {id(parameter) for parameter in module.parameters()}


FIRST_SCALE = 2.0**16  # of losses in fp16
ALIGNMENT = 16  # elements; a tensor begins at a multiple of a cache line


def flat_size(tensors: Sequence[Tensor]) -> int:
    """Elements of the flat tensor that `views` cuts up for these tensors."""
    return sum(_slot(tensor) for tensor in tensors)


def views(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Views into `flat`, one for each tensor of `like`: its shape, images' filters with the channels last."""
    found, begin = [], 0
    for tensor in like:
        piece = flat[begin : begin + tensor.numel()]
        if tensor.dim() == 4 and channels_last_on(flat.device):
            outputs, inputs, height, width = tensor.shape
            found.append(piece.view(outputs, height, width, inputs).permute(0, 3, 1, 2))
        else:
            found.append(piece.view(tensor.shape))
        begin += _slot(tensor)
    return found


@torch.no_grad()
def move_into(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    """Let each tensor keep its value and live in `flat` from now on."""
    for tensor, view in zip(tensors, views(flat, tensors), strict=True):
        view.copy_(tensor)
        tensor.data = view


def owned_by(ranks: int, tensors: Sequence[Tensor]) -> list[range]:
    """The tensors that each rank updates, by their positions: neighbours, of about the same size in all."""
    ends = list(accumulate(_slot(tensor) for tensor in tensors))
    owners = [int((end - _slot(tensor) / 2) * ranks / ends[-1]) for end, tensor in zip(ends, tensors, strict=True)]
    cuts = [bisect_left(owners, rank) for rank in range(ranks + 1)]
    return [range(*pair) for pair in pairwise(cuts)]


def _slot(tensor: Tensor) -> int:
    return -(-tensor.numel() // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Board:
    """Tensors that every worker of a rank reads and writes. Between two steps those of all ranks are equal.

    Shapes: P parameters, B running statistics, C counters, S shards, K workers, N training images.
    """

    parameters: Tensor  # (P,)
    statistics: Tensor  # (B,) as they stand before the step
    counters: Tensor  # (C,) int64, likewise
    gradients: Tensor  # (K, P) the sum over each worker's shards; after an update, in [0], over the whole batch
    shard_statistics: Tensor  # (S, B) as each shard leaves them
    shard_scores: Tensor  # (S, 2) sum of losses, number of correct answers; with `scaling` (S, 3), 1 if all is finite
    losses: Tensor  # (N,) of each image when it was last trained on; infinite before
    scaling: Tensor | None = None  # (2,) what losses are multiplied by before the backward pass, for how many steps
    rank: int = 0
    ranks: int = 1

    @property
    def shards(self) -> int:
        """Of a batch, over all ranks."""
        return len(self.shard_scores)

    @property
    def workers(self) -> int:
        return len(self.gradients)

    def block(self, worker: int) -> range:
        """The shards that one of this rank's workers computes."""
        count = self.shards // (self.ranks * self.workers)
        begin = (self.rank * self.workers + worker) * count
        return range(begin, begin + count)


def make_board(
    network: Network,
    *,
    images: int,
    shards: int,
    workers: int,
    device: torch.device,
    scales: bool = False,
    rank: int = 0,
    ranks: int = 1,
) -> Board:
    """Move the trainable parameters onto a board, which several workers share; `images` is the training split's size.

    `scales`: losses are scaled.

    Raises:
        MachineError: there is too little shared memory for it.
    """
    size, width = flat_size(network.trainable), flat_size(network.statistics)
    if workers > 1:
        check_shared_memory(4 * ((1 + workers) * size + (1 + shards) * width + images), "set runtime.workers to 1")

    def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        tensor = torch.zeros(*shape, device=device, dtype=dtype)
        return tensor.share_memory_() if workers > 1 else tensor

    board = Board(
        zeros(size),
        zeros(width),
        zeros(flat_size(network.counters), dtype=torch.int64),
        zeros(workers, size),
        zeros(shards, width),
        zeros(shards, 3 if scales else 2),
        zeros(images),
        zeros(2) if scales else None,
        rank=rank,
        ranks=ranks,
    )
    board.losses.fill_(float("inf"))
    if board.scaling is not None:
        board.scaling[0] = FIRST_SCALE
    move_into(board.parameters, network.trainable)
    for flat, tensors in ((board.statistics, network.statistics), (board.counters, network.counters)):
        for view, tensor in zip(views(flat, tensors), tensors, strict=True):
            view.copy_(tensor)
    return board


def check_shared_memory(needed: int, remedy: str) -> None:
    """Refuse to share more memory than there is.

    Written past its end, shared memory kills the process without a word; containers often have 64 MB.

    Raises:
        MachineError: there is less than `needed` bytes.
    """
    free = free_shared_memory()
    if free is not None and needed > free:
        raise MachineError(
            f"train: its processes share {needed / 1e6:,.0f} MB and {SHARED_MEMORY} has {free / 1e6:,.0f} MB free; "
            f"{remedy}, or give it more (docker run --shm-size)"
        )
