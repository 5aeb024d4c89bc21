"""The pipeline's own training step, sharded over processes, and the same network's ordinary step beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from benchmarks.contestant import Ready, training_flops
from imageclf.augment.transforms import Augment
from imageclf.config.params import read_params
from imageclf.config.train import TrainParams
from imageclf.images.dataset import Dataset, read_dataset, read_split
from imageclf.models.classifier import Classifier
from imageclf.models.device import Compute, choose_compute
from imageclf.models.layers import MaxPool, NormSilu
from imageclf.models.registry import build_network
from imageclf.runtime.platform import available_cores
from imageclf.training.auto import Recipe, resolve
from imageclf.training.loading import Batch
from imageclf.training.optimizers import Hyperparameters
from imageclf.training.shared import Network
from imageclf.training.step import choose_loss
from imageclf.training.update import make_optimizers
from imageclf.training.workers import start_pool

RATE = 1e-4  # no rate changes the speed; the recipe's own, without its schedule, could end in nan
NOTES = {
    "model": "notes_cnn",
    "batch_size": 64,
    "optimizer": "sgd",
    "momentum": 0.0,
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
}


def default_recipe() -> TrainParams:
    return read_params().train


def large_recipe() -> TrainParams:
    return default_recipe().model_copy(update={"model": "cifarnet_large"})


def notes_recipe(precision: str) -> TrainParams:
    recipe = default_recipe()
    plain = recipe.augment.model_copy(update={"flip": "none", "translate": 0})
    return recipe.model_copy(update=NOTES | {"precision": precision, "augment": plain})


@contextmanager
def sharded(folder: Path, params: TrainParams) -> Iterator[Ready]:
    """As imageclf/training/loop.py takes it."""
    dataset, split = read_dataset(folder), read_split("train", folder)
    recipe = resolve(params, images=len(split), size=dataset.size)
    compute, network = _compute(recipe), Network(fresh(recipe, dataset))
    with start_pool(network, split, _augment(recipe), recipe=recipe, compute=compute) as pool:
        coming = batches(len(split), recipe.batch_size)

        def step() -> int:
            batch = next(coming)
            pool.compute(batch)
            pool.update(RATE)
            return len(batch.indices)

        yield Ready(step, _flops(recipe, dataset), compute.precision)


@contextmanager
def unsharded(folder: Path, params: TrainParams) -> Iterator[Ready]:
    """The whole batch at once on torch's own threads, and on its own layers: our compiled ones have one thread."""
    dataset, split = read_dataset(folder), read_split("train", folder)
    recipe = resolve(params, images=len(split), size=dataset.size)
    compute = _compute(recipe)
    torch.set_num_threads(available_cores())
    network = Network(_with_torch_layers(fresh(recipe, dataset)))
    for parameter in network.trainable:
        parameter.grad = torch.zeros_like(parameter)
    optimizers = _optimizers(recipe, network)
    augment, coming = _augment(recipe), batches(len(split), recipe.batch_size)
    loss_fn = choose_loss(recipe.loss, label_smoothing=recipe.label_smoothing)

    def step() -> int:
        batch = next(coming)
        images = torch.from_numpy(augment(split.images, batch.indices, batch.epoch))
        with compute.autocast():
            logits = network.classifier(images)
        loss_fn(logits.float(), torch.from_numpy(split.labels[batch.indices])).mean().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)  # muon works on views of these gradients
        return len(batch.indices)

    yield Ready(step, _flops(recipe, dataset), compute.precision)


def _compute(recipe: Recipe) -> Compute:
    return choose_compute("cpu", recipe.precision, "auto", shards=recipe.shards)


def fresh(recipe: Recipe, dataset: Dataset) -> Classifier:
    torch.manual_seed(0)
    network = build_network(
        recipe.model, classes=len(dataset.classes), channels=dataset.channels, size=dataset.size
    ).train()
    return Classifier(network, dataset.mean, dataset.std).train().to(memory_format=torch.channels_last)


def _with_torch_layers(classifier: Classifier) -> Classifier:
    for module in list(classifier.modules()):
        for name, child in module.named_children():
            if isinstance(child, NormSilu):
                norm = nn.BatchNorm2d(child.num_features, momentum=child.momentum)
                norm.weight.requires_grad_(False)
                setattr(module, name, nn.Sequential(norm, nn.SiLU()))
            elif isinstance(child, MaxPool):
                setattr(module, name, nn.MaxPool2d(2))
    return classifier


def _flops(recipe: Recipe, dataset: Dataset) -> int:
    return training_flops(fresh(recipe, dataset).network, dataset.size, dataset.channels)


def _augment(recipe: Recipe) -> Augment:
    return Augment(recipe.seed, recipe.augment)


def _optimizers(recipe: Recipe, network: Network) -> list[Optimizer]:
    hyper = Hyperparameters(RATE, recipe.momentum, recipe.nesterov, recipe.weight_decay)
    return make_optimizers(recipe.optimizer, network.trainable, network.rates, hyper=hyper)


def batches(images: int, size: int) -> Iterator[Batch]:
    """Random images, as a shuffled epoch has them, without end."""
    chances = np.random.default_rng(0)
    return (Batch(chances.integers(0, images, size), epoch=0, step=step) for step in count())
