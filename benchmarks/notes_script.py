"""The notes' training script as they have it, to compare with: `python -m benchmarks.notes_script` after `dvc repro`.

Its loop, its network, its loader and its recipe: no shuffling, no normalisation, plain SGD, two epochs, torch's own
threads. Mended is only what kept it from running (the kernel size) and from telling the truth (accuracy was divided by
the number of training images, and the last 16 test images were dropped).
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torchvision.transforms.functional as F
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.contestant import Ready, Step, training_flops
from benchmarks.pictures import Loader, Pictures, endless
from imageclf.images.dataset import PREPARED, read_split
from imageclf.models.networks.notes import notes_cnn

EPOCHS = 2


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.notes_script")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights; nothing else is random")
    torch.manual_seed(parser.parse_args().seed)
    train = train_loader(PREPARED)
    test: Loader = DataLoader(Pictures(read_split("test"), F.to_tensor), batch_size=64)
    network = notes_network()
    step = _stepper(network, train)
    for epoch in range(1, EPOCHS + 1):
        begun = time.monotonic()
        for _ in range(len(train)):
            step()
        seconds = time.monotonic() - begun
        print(f"epoch {epoch}: {seconds:.1f} s, test top-1 {100 * _accuracy(network, test):.2f} %", flush=True)


@contextmanager
def notes_script(folder: Path) -> Iterator[Ready]:
    """The same loop as a contestant."""
    yield Ready(_stepper(notes_network(), train_loader(folder)), training_flops(notes_network(), (32, 32)), "fp32")


def train_loader(folder: Path) -> Loader:
    return DataLoader(Pictures(read_split("train", folder), F.to_tensor), batch_size=64, drop_last=True)


def notes_network() -> nn.Module:
    return notes_cnn(classes=10, channels=3, size=(32, 32), activations=False)


def _stepper(network: nn.Module, loader: Loader) -> Step:
    batches = endless(loader)
    loss_of = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)

    def step() -> int:
        images, labels = next(batches)
        loss = loss_of(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return len(labels)

    return step


@torch.no_grad()
def _accuracy(network: nn.Module, loader: Loader) -> float:
    right = sum(int((network(images).argmax(1) == labels).sum()) for images, labels in loader)
    return right / len(loader.dataset)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
