"""A small classifier, trained by the sharded step for a few steps."""

import hashlib
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from imageclf.images.dataset import Split
from imageclf.models.classifier import Classifier
from imageclf.models.device import Compute
from imageclf.training.loading import Batch
from imageclf.training.ranks import ALONE, Ranks
from imageclf.training.shared import Network
from imageclf.training.workers import WorkerPool, start_pool
from imageclf.weights.freezing import freeze
from tests.augment.augmenting import augmenting
from tests.training.test_fit import recipe

GENERATOR = np.random.default_rng(0)
SPLIT = Split(GENERATOR.integers(0, 256, (96, 8, 8, 3)).astype(np.uint8), GENERATOR.integers(0, 4, 96))
CPU = torch.device("cpu")


def small_classifier(*, random: bool = True) -> Classifier:
    """With all that could make the number of workers matter: batch norm, dropout, a filter with channels last."""
    torch.manual_seed(0)
    middle = [nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5)] if random else [nn.ReLU()]
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *middle, nn.Flatten(), nn.Linear(512, 4))
    return Classifier(network, [0.5] * 3, [0.25] * 3).to(memory_format=torch.channels_last)


def make_pool(
    classifier: Classifier,
    *,
    workers: int,
    shards: int,
    precision: str = "fp32",
    head_lr: float = 1.0,
    layer_decay: float = 1.0,
    head_first: bool = False,
    device: torch.device = CPU,
    ranks: Ranks = ALONE,
    **changes: Any,
) -> WorkerPool:
    compute = Compute(device, precision, workers, packed=device.type != "cpu")
    network = Network(classifier, head_lr=head_lr, layer_decay=layer_decay, head_first=head_first)
    small = {"seed": 3, "momentum": 0.9, "weight_decay": 0.01, "label_smoothing": 0.1, "shards": shards}
    augment = augmenting(0, flip="random", translate=1)
    return start_pool(network, SPLIT, augment, recipe=recipe(**small | changes), compute=compute, ranks=ranks)


def train_a_little(
    *,
    workers: int,
    precision: str = "fp32",
    batch: int = 32,
    shards: int = 4,
    head_lr: float = 1.0,
    frozen: str | int = "none",
    layer_decay: float = 1.0,
    head_steps: int = 0,
    **changes: Any,
) -> str:
    """A hash of all weights and statistics after a few steps."""
    torch.set_num_threads(1)
    classifier = small_classifier()
    freeze(classifier, frozen)
    rates: dict[str, Any] = {"head_lr": head_lr, "layer_decay": layer_decay, "head_first": head_steps > 0}
    pool_of = partial(make_pool, workers=workers, shards=shards, precision=precision)
    with pool_of(classifier, **rates, **changes) as pool:
        for step in range(6):
            pool.compute(Batch(np.arange(batch) + step, epoch=step, step=step, head_only=step < head_steps))
            pool.update(0.1, clip_norm=changes.get("clip_norm", 0.0))
    state = classifier.state_dict()
    return hashlib.sha256(b"".join(tensor.contiguous().numpy().tobytes() for tensor in state.values())).hexdigest()


def augmented(**changes: Any) -> dict[str, Any]:
    """`train.augment` with changes, for a recipe."""
    return {"augment": recipe().augment.model_dump() | changes}
