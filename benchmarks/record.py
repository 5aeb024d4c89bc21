"""The published record recipe for CIFAR-10, airbench94_muon, at its settings, on the CPU in fp32.

Written anew from its paper (arXiv:2404.00498) and from the description of its optimiser
(https://kellerjordan.github.io/posts/muon); settings are those of https://github.com/KellerJordan/cifar10-airbench.
`python -m benchmarks.record` trains it to the end, 94 % in its authors' runs: more than half an hour on two cores.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.contestant import Ready, training_flops
from imageclf.augment.transforms import NO_AUGMENTATION, Augment
from imageclf.images.dataset import Dataset, Split, read_dataset, read_split
from imageclf.randomness import permutation

WIDTHS = (64, 256, 256)
BATCH, EPOCHS, WHITENING_EPOCHS = 2000, 8, 3  # in the first three epochs the whitening bias learns too
BIAS_RATE, HEAD_RATE, FILTER_RATE = 0.053, 0.67, 0.24
DECAY = 2e-6 * BATCH  # of a step at the full rate; SGD is told it over the rate, by which it multiplies
SMOOTHING = 0.2
WHITENING_IMAGES = 5000
TTA_SAMPLE = 500  # test images; their time is scaled up to the whole test split


class RecordNet(nn.Module):
    """Pixels (N, 3, 32, 32) to logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.whitening = nn.Conv2d(3, 24, kernel_size=2)
        self.whitening.weight.requires_grad_(False)
        blocks = [_block(a, b) for a, b in zip((24, *WIDTHS[:-1]), WIDTHS, strict=True)]
        self.body = nn.Sequential(nn.GELU(), *blocks, nn.MaxPool2d(3), nn.Flatten())
        self.head = nn.Linear(WIDTHS[-1], 10, bias=False)
        with torch.no_grad():
            self.head.weight.div_(self.head.weight.std())

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.body(self.whitening(pixels))) / WIDTHS[-1]

    @torch.no_grad()
    def whiten(self, pixels: Tensor) -> None:
        """Eigenvectors of the 2x2 patches' covariance, each over its standard deviation, and their negatives."""
        patches = F.unfold(pixels, 2).transpose(1, 2).reshape(-1, 12)  # (N * 31 * 31, 12)
        variances, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (vectors / (variances + 5e-4).sqrt()).T.reshape(12, 3, 2, 2)
        self.whitening.weight.copy_(torch.cat([filters, -filters]))


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        _filters(inputs, outputs),
        nn.MaxPool2d(2),
        _norm(outputs),
        nn.GELU(),
        _filters(outputs, outputs),
        _norm(outputs),
        nn.GELU(),
    )


def _filters(inputs: int, outputs: int) -> nn.Conv2d:
    filters = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
    nn.init.dirac_(filters.weight.data[:inputs])  # the identity, on the first outputs
    return filters


def _norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)
    norm.weight.requires_grad_(False)
    return norm


def orthogonal(matrix: Tensor, *, steps: int = 3) -> Tensor:
    """Muon's Newton-Schulz iteration: the same singular vectors, singular values pushed towards 1."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(steps):
        square = wide @ wide.T
        wide = 3.4445 * wide + (-4.7750 * square + 2.0315 * square @ square) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T


@dataclass
class Filters:
    """The convolutions' filters under Muon, with Nesterov momentum; before each step a filter bank gets length √O."""

    tensors: list[Tensor]
    momentum: float = 0.6

    def __post_init__(self) -> None:
        self._moving = [torch.zeros_like(tensor) for tensor in self.tensors]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for tensor, moving in zip(self.tensors, self._moving, strict=True):
            assert tensor.grad is not None
            moving.mul_(self.momentum).add_(tensor.grad)
            update = orthogonal((tensor.grad + self.momentum * moving).flatten(1)).view_as(tensor)
            tensor.mul_(len(tensor) ** 0.5 / tensor.norm()).sub_(update, alpha=rate)


class Recipe:
    """A run of it: the network, its optimisers, and how many steps are done."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, dataset: Dataset, *, seed: int, batch: int = BATCH):
        torch.manual_seed(seed)
        self._images, self._labels, self._seed, self._batch = images, torch.from_numpy(labels), seed, batch
        self._augment = Augment(seed, NO_AUGMENTATION.model_copy(update={"flip": "alternate", "translate": 2}))
        self._mean, self._std = (255 * torch.tensor(values).view(-1, 1, 1) for values in (dataset.mean, dataset.std))
        self.steps = len(images) // batch  # of an epoch
        self.network = RecordNet().to(memory_format=torch.channels_last)
        self.network.whiten(self._pixels(np.array(images[:WHITENING_IMAGES])))
        self._filters = Filters([each for each in self.network.parameters() if each.dim() == 4 and each.requires_grad])
        biases = [each for name, each in self.network.body.named_parameters() if name.endswith("bias")]
        groups = [
            ([self.network.whitening.bias], BIAS_RATE),
            (biases, BIAS_RATE),
            ([self.network.head.weight], HEAD_RATE),
        ]
        self._rest = torch.optim.SGD(
            [{"params": tensors, "lr": rate, "weight_decay": DECAY / rate} for tensors, rate in groups],
            lr=BIAS_RATE,
            momentum=0.85,
            nesterov=True,
        )
        self._batches = self._shuffled()
        self._done = 0

    def step(self) -> int:
        """Train on the next batch; rates fall in a straight line, the whitening bias's sooner."""
        pixels, labels = next(self._batches)
        left = max(0.0, 1 - self._done / (EPOCHS * self.steps))
        whitening_left = max(0.0, 1 - self._done / (WHITENING_EPOCHS * self.steps))
        self.network.whitening.get_parameter("bias").requires_grad_(whitening_left > 0)
        F.cross_entropy(self.network(pixels), labels, label_smoothing=SMOOTHING, reduction="sum").backward()
        for group, rate in zip(
            self._rest.param_groups, (BIAS_RATE * whitening_left, BIAS_RATE * left, HEAD_RATE * left), strict=True
        ):
            group["lr"] = rate
        self._rest.step()
        self._filters.step(FILTER_RATE * left)
        self.network.zero_grad()
        self._done += 1
        return len(labels)

    @torch.no_grad()
    def answer(self, images: np.ndarray) -> Tensor:
        """Logits with test-time augmentation: six views, half of the weight on the untranslated two."""
        self.network.eval()
        pixels = self._pixels(images)
        padded = F.pad(pixels, (1, 1, 1, 1), mode="reflect")
        height, width = pixels.shape[2:]
        moved = self._both_ways(padded[:, :, :height, :width]) + self._both_ways(padded[:, :, 2:, 2:])
        logits = self._both_ways(pixels) / 2 + moved / 4
        self.network.train()
        return logits

    def _both_ways(self, pixels: Tensor) -> Tensor:
        return (self.network(pixels) + self.network(pixels.flip(3))) / 2

    def _shuffled(self) -> Iterator[tuple[Tensor, Tensor]]:
        for epoch in count():
            order = permutation(len(self._images), self._seed, epoch)
            for step in range(self.steps):
                indices = order[step * self._batch : (step + 1) * self._batch]
                yield self._pixels(self._augment(self._images, indices, epoch)), self._labels[indices]

    def _pixels(self, images: np.ndarray) -> Tensor:
        return (torch.from_numpy(images).permute(0, 3, 1, 2).float() - self._mean) / self._std


@contextmanager
def record(folder: Path) -> Iterator[Ready]:
    """The recipe as a contestant."""
    split, test = read_split("train", folder), read_split("test", folder)
    recipe = Recipe(split.images, split.labels, read_dataset(folder), seed=0, batch=min(BATCH, len(split)))

    def finish() -> float:
        begun = time.monotonic()
        sample = np.array(test.images[:TTA_SAMPLE])
        recipe.answer(sample)
        return (time.monotonic() - begun) * len(test) / len(sample)

    yield Ready(recipe.step, training_flops(RecordNet(), (32, 32)), "fp32", finish)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.record", description="train the record recipe")
    parser.add_argument("--seed", type=int, default=0)
    dataset, train, val, test = read_dataset(), read_split("train"), read_split("val"), read_split("test")
    images, labels = np.concatenate([train.images, val.images]), np.concatenate([train.labels, val.labels])
    begun = time.monotonic()
    recipe = Recipe(images, labels, dataset, seed=parser.parse_args().seed)
    for epoch in range(1, EPOCHS + 1):
        for _ in range(recipe.steps):
            recipe.step()
        print(f"epoch {epoch} of {EPOCHS}: {time.monotonic() - begun:.0f} s", flush=True)
    print(f"test top-1 {100 * _accuracy(recipe, test):.2f} %, {time.monotonic() - begun:.0f} s in all")


def _accuracy(recipe: Recipe, test: Split) -> float:
    pieces = range(0, len(test), TTA_SAMPLE)
    answers = torch.cat([recipe.answer(np.array(test.images[begin : begin + TTA_SAMPLE])) for begin in pieces])
    return float((answers.argmax(1).numpy() == test.labels).mean())


if __name__ == "__main__":
    main()
