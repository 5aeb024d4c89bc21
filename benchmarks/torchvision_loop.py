"""The ordinary PyTorch loop, after torchvision's reference for classification: loader workers, transforms per image."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

from benchmarks.contestant import Ready, training_flops
from benchmarks.pictures import Loader, Pictures, endless
from imageclf.images.dataset import Dataset, read_dataset, read_split
from imageclf.models.registry import build_network

BATCH, WORKERS = 128, 2


@contextmanager
def torchvision_loop(folder: Path, model: str) -> Iterator[Ready]:
    """Train `model` on pixels as the loader gives them, contiguous, in fp32, on torch's own threads."""
    dataset = read_dataset(folder)
    batches = endless(_loader(folder, dataset))
    network = _fresh(model, dataset)
    loss_of = nn.CrossEntropyLoss()
    parameters = [each for each in network.parameters() if each.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=1e-4)

    def step() -> int:
        images, labels = next(batches)
        loss = loss_of(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return len(labels)

    yield Ready(step, training_flops(_fresh(model, dataset), dataset.size, dataset.channels), "fp32")


def _loader(folder: Path, dataset: Dataset) -> Loader:
    transform = transforms.Compose(
        [
            transforms.RandomCrop(dataset.size, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(dataset.mean, dataset.std),
        ]
    )
    pictures = Pictures(read_split("train", folder), transform)
    return DataLoader(pictures, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=WORKERS)


def _fresh(model: str, dataset: Dataset) -> nn.Module:
    torch.manual_seed(0)
    return build_network(model, classes=len(dataset.classes), channels=dataset.channels, size=dataset.size).train()
