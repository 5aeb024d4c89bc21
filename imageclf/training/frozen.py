"""A frozen backbone at its real cost: the inputs of the last layer are computed once, and epochs train it on them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from imageclf.augment.transforms import NO_AUGMENTATION, Augment, AugmentParams
from imageclf.images.dataset import Split
from imageclf.models.card import Card
from imageclf.models.classifier import Classifier
from imageclf.models.registry import last_layer
from imageclf.runtime.errors import ParamsError
from imageclf.runtime.files import sha256_of_array
from imageclf.training.auto import Recipe
from imageclf.training.blocks import Block, Folds, blocks_of, gathered
from imageclf.training.features import View, features_of
from imageclf.training.log import RunLog
from imageclf.training.logistic import fit_logistic
from imageclf.training.loop import Task, validate, words_of
from imageclf.training.optimizers import LBFGS
from imageclf.training.outcome import Row

MOST_VIEWS = 4  # that auto takes; 8 were no more accurate
TRIED = 4  # images


class Head(Classifier):
    """Features float32 (N, 1, D) in, logits (N, classes) out: the last layer of a classifier, and a dropout before it.

    It shares them with the classifier, whose last layer is trained with it.
    """

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__(nn.Sequential(*parts), [0.0], [1.0])

    def forward(self, features: Tensor, scale: float = 1.0) -> Tensor:
        return self.network(features.flatten(1))


@dataclass(frozen=True)
class Views:
    """The features of each training image in several views; called as an `Augment` is, it takes view `epoch` mod V."""

    each: Sequence[np.ndarray]  # (N, 1, D)

    def __call__(self, images: np.ndarray, indices: np.ndarray, epoch: int | np.ndarray) -> np.ndarray:
        numbers = np.broadcast_to(np.asarray(epoch) % len(self.each), indices.shape)
        chosen = np.empty((len(indices), *images.shape[1:]), np.float32)
        for number in np.unique(numbers):
            mine = numbers == number
            chosen[mine] = self.each[number][indices[mine]]
        return chosen


def on_features(
    whole: Task, card: Card, recipe: Recipe, *, sha256: dict[str, str], folder: Path, folds: Folds | None = None
) -> Task:
    """The same task on features, which are kept in `folder`; `whole` itself where they cannot stand for the images.

    A line then says why. `sha256` are those of the prepared arrays. With `folds`, all folds share the features.

    Raises:
        MachineError: the disk or the device has too little room.
        DataError: the prepared images changed meanwhile.
        ParamsError: logistic regression is asked for, and needs features.
    """
    views = choose_views(recipe.views, recipe.augment, train=len(whole.train), val=len(whole.val))
    parts = _hindrance(recipe, views) or _head_of(whole)
    if isinstance(parts, str):
        if recipe.optimizer == LBFGS:
            raise ParamsError(f"params.yaml: train.optimizer {LBFGS} needs features, and {parts}; change one of them")
        print(f"train: every epoch runs the whole network, which is slow, because {parts}", flush=True)
        return whole
    last = parts[-1]
    assert isinstance(last, nn.Linear)
    chosen, val = _features(whole, last, card, views, sha256=sha256, folds=folds, folder=folder)
    return Task(
        Head(parts).to(whole.compute.device),
        Split(chosen.each[0], whole.train.labels),
        Split(val, whole.val.labels),
        chosen,
        replace(whole.compute, precision="fp32", loaders=0),  # a last layer alone is no faster in bf16
        whole.ranks,
    )


def choose_views(views: int | str, augment: AugmentParams, *, train: int, val: int) -> int:
    """`train.views` with auto resolved, for so many training and validation images.

    auto takes more than one view only where the validation images cost more anyway. It does not look at the number of
    epochs, so that another number needs no other features. Without augmentation all views are the same.
    """
    if augment == NO_AUGMENTATION and views != 0:
        return 1
    return views if isinstance(views, int) else min(MOST_VIEWS, max(1, val // train))


def solve(task: Task, recipe: Recipe, log: RunLog) -> list[Row]:
    """Fit the last layer by logistic regression; one row of scores, as of one epoch.

    Raises:
        Diverged: the features are not finite.
    """
    layer = last_layer(task.classifier.network)[1]
    assert isinstance(layer, nn.Linear)
    assert isinstance(task.augment, Views)
    row = fit_logistic(
        layer,
        task.augment.each,
        task.train.labels,
        label_smoothing=recipe.label_smoothing,
        weight_decay=recipe.weight_decay,
        balanced=recipe.class_weights == "balanced",
        threads=task.compute.workers,
    )
    row |= validate(task, recipe)
    print(words_of(row, 1), flush=True)
    log.epoch(1, row)
    return [row]


def _hindrance(recipe: Recipe, views: int) -> str:
    """Why params keep features from standing for images; empty if they do not."""
    if views == 0:
        return "train.views is 0"
    if recipe.augment.mixup or recipe.augment.cutmix:
        return "train.augment mixes images"
    if set(recipe.scales) != {1.0}:
        return "train.scales changes the size of the images"
    return ""


def _head_of(whole: Task) -> list[nn.Module] | str:
    """The last layer, after a dropout if there is one right before it; or why the two cannot be trained alone.

    A copy of the classifier is tried on the first images.
    """
    classifier = whole.classifier
    name, last = last_layer(classifier.network)
    if not name or not isinstance(last, nn.Linear):
        return "its last layer is no linear layer behind a backbone"
    trial = deepcopy(classifier)
    copied = trial.network.get_submodule(name)
    dropouts: dict[nn.Module, str] = {
        module: at for at, module in trial.network.named_modules() if isinstance(module, nn.Dropout)
    }
    images = torch.from_numpy(np.array(whole.train.images[:TRIED])).to(whole.compute.device)
    with trial.one_look(), torch.no_grad(), _watched([copied, *dropouts]) as calls:
        answer = trial.eval()(images)
        own = [call for call in calls if call.module is copied]
        if len(own) != 1 or own[0].output is not answer or own[0].given.dim() != 2:
            return "its answer is not what its last layer gives"
        before = [call.module for call in calls if call.output is own[0].given]
        trial.train()
        for module in before:
            module.eval()
        trial(images)
    if not torch.allclose(calls[-1].given, own[0].given, rtol=1e-3, atol=1e-5):
        return "it draws at random, or averages over a batch, before its last layer"
    return [*(classifier.network.get_submodule(dropouts[module]) for module in before), last]


class Call(NamedTuple):
    """One call of a module."""

    module: nn.Module
    given: Tensor
    output: Tensor


@contextmanager
def _watched(modules: Sequence[nn.Module]) -> Iterator[list[Call]]:
    """The calls of the modules in the block."""
    calls: list[Call] = []
    handles = [
        module.register_forward_hook(lambda module, given, output: calls.append(Call(module, given[0], output)))
        for module in modules
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _ended_before(classifier: Classifier, last: nn.Module) -> Iterator[None]:
    """In the block the classifier gives what enters its last layer."""
    name = next(name for name, module in classifier.network.named_modules() if module is last)
    classifier.network.set_submodule(name, nn.Identity())
    try:
        yield
    finally:
        classifier.network.set_submodule(name, last)


def _features(
    whole: Task, last: nn.Linear, card: Card, views: int, *, sha256: dict[str, str], folds: Folds | None, folder: Path
) -> tuple[Views, np.ndarray]:
    """Those of the training images in so many views, and of the validation images (M, 1, D)."""
    augment, train, val = whole.augment, whole.train, whole.val
    assert isinstance(augment, Augment)
    blocks = blocks_of(train, val, folds) if folds else []
    shown: list[tuple[np.ndarray | Block, str]] = [(block, block.sha256) for block in blocks]
    shown = shown or [(train.images, sha256["train_images"])]
    wanted = [_view(*images, augment, epoch) for epoch in range(views) for images in shown]
    has_own = len(val) > 0 and not (blocks and augment.params == NO_AUGMENTATION)
    if has_own:
        wanted.append(_view(val.images, sha256["val_images"], augment, None))
    facts = _facts(whole.classifier, card)
    with _ended_before(whole.classifier, last), whole.classifier.one_look():
        paths = features_of(
            whole.classifier,
            wanted,
            folder,
            sources=[Path(file) for split in (train, val) if (file := getattr(split.images, "filename", None))],
            size=card.network_size,
            width=last.in_features,
            facts=facts,
            compute=replace(whole.compute, workers=whole.compute.workers * whole.ranks.local_count),
        )
    arrays = [np.load(path, mmap_mode="r") for path in paths]
    if not blocks:
        return Views(arrays[:views]), arrays[-1] if has_own else np.empty((0, 1, last.in_features), np.float32)
    each = [gathered(blocks, arrays[at : at + len(blocks)]) for at in range(0, views * len(blocks), len(blocks))]
    return Views([its for its, _ in each]), arrays[-1] if has_own else each[0][1]


def _view(images: np.ndarray | Block, sha256: str, augment: Augment, epoch: int | None) -> View:
    """Images as an epoch of training has them, or as they are for None; `sha256` is that of all of them."""
    one_by_one = Lock()
    plain = epoch is None or augment.params == NO_AUGMENTATION

    def take(indices: np.ndarray) -> np.ndarray:
        if plain:
            return images[indices]
        with one_by_one:  # the policies draw from torch's one generator
            return augment(images, indices, epoch or 0)

    drawn = {} if plain else {"seed": augment.seed, "augment": augment.params.model_dump(), "epoch": epoch}
    return View(len(images), take, {"images": sha256} | drawn)


def _facts(classifier: Classifier, card: Card) -> dict[str, Any]:
    """What features depend on besides the images: the backbone with its weights, and what it is computed with."""
    last = last_layer(classifier.network)[0]
    weights = {
        name: sha256_of_array(tensor.cpu().numpy())
        for name, tensor in classifier.network.state_dict().items()
        if not name.startswith(f"{last}.")
    }
    shown = ("model", "head", "size", "network_size", "channels", "mean", "std", "precision", "made_with")
    module = card.made_from.get("module", "")
    return {"weights": weights, "module": module} | {name: asdict(card)[name] for name in shown}
