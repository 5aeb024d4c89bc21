"""Training images as torchvision's data sets hand them out: PIL images, one at a time, each through its transforms."""

from collections.abc import Callable
from itertools import chain, repeat
from typing import Any

from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from imageclf.images.dataset import Split

Loader = DataLoader[tuple[Tensor, int]]


class Pictures(Dataset[tuple[Tensor, int]]):
    """One split behind a transform."""

    def __init__(self, split: Split, transform: Callable[[Any], Tensor]) -> None:
        self._split, self._transform = split, transform

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._split.images[index])), int(self._split.labels[index])


def endless(loader: Loader) -> "chain[list[Tensor]]":
    """Its batches, epoch after epoch."""
    return chain.from_iterable(repeat(loader))
