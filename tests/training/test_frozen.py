"""With a frozen backbone, epochs on features give what epochs of the whole network give, or run the whole network."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imageclf.augment.transforms import NO_AUGMENTATION, Augment
from imageclf.images.dataset import Split
from imageclf.models.classifier import Classifier
from imageclf.models.device import Compute
from imageclf.runtime.errors import ParamsError
from imageclf.training.blocks import Folds
from imageclf.training.checkpoint import held_checkpoints
from imageclf.training.frozen import Head, choose_views, on_features, solve
from imageclf.training.log import RunLog
from imageclf.training.loop import Task, fit
from imageclf.training.outcome import Row
from imageclf.weights.freezing import freeze
from tests.small_run import make_card
from tests.training.sharded import augmented
from tests.training.test_fit import bright_or_dark, recipe

CARD = replace(make_card(classes=("dark", "bright"), size=(8, 8)), made_with={"torch": torch.__version__})
SUMS = {"train_images": "a", "val_images": "b"}  # nothing here reads what they are of
PLAIN: dict[str, Any] = {"augment": NO_AUGMENTATION.model_dump(), "views": 1}
RECIPE: dict[str, Any] = {"freeze": "backbone", "epochs": 3, "lr": 0.5, "views": 3}


class Scaled(nn.Sequential):
    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(pixels) / 20


class Noisy(nn.Sequential):
    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(pixels + torch.rand(()) * self.training)


def layers(*last: nn.Module) -> list[nn.Module]:
    return [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), *last]


def dropout_and_linear() -> nn.Module:
    return nn.Sequential(*layers(nn.Dropout(0.4), nn.Linear(16, 2)))


def make_task(build: Callable[[], nn.Module] = dropout_and_linear, *, workers: int = 1, seed: int = 0) -> Task:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    classifier = Classifier(build(), CARD.mean, CARD.std)
    freeze(classifier, "backbone")
    augment = Augment(seed, recipe(**augmented(flip="random", translate=0)).augment)
    compute = Compute(torch.device("cpu"), "fp32", workers)
    return Task(classifier, bright_or_dark(64), bright_or_dark(10), augment, compute)


def with_features(whole: Task, folder: Path, **changes: Any) -> Task:
    params = recipe(**RECIPE | augmented(flip="random", translate=0) | changes)
    return on_features(whole, CARD, params, sha256=SUMS, folder=folder / ".features")


def train(task: Task, folder: Path, **changes: Any) -> list[Row]:
    with held_checkpoints(folder / "run") as checkpoints, RunLog(folder / "log", first_step=0) as log:
        return fit(
            task,
            recipe(**RECIPE | changes),
            begun=None,
            checkpoints=checkpoints,
            checkpoint_every=1000,
            log=log,
            log_every=100,
        )


@pytest.mark.parametrize("changes", [{}, {"sampling": "balanced"}], ids=["shuffled", "balanced"])
def test_with_a_view_for_each_epoch_nothing_else_is_learned(tmp_path: Path, changes: dict[str, Any]) -> None:
    whole, split = make_task(), make_task()
    expected = train(whole, tmp_path, **changes)
    # An image that comes twice in an epoch has further views there, of which there are none here.
    found = train(with_features(split, tmp_path, **changes), tmp_path, **changes)
    close = 2e-5 if not changes else 0.05
    assert [row["val_loss"] for row in found] == pytest.approx([row["val_loss"] for row in expected], abs=close)
    assert found[-1]["train_loss"] == pytest.approx(expected[-1]["train_loss"], abs=close)
    assert found[0]["val_loss"] > found[-1]["val_loss"]
    # What is trained on features is the last layer of the whole network, which is saved.
    tensors = zip(whole.classifier.state_dict().items(), split.classifier.state_dict().values(), strict=True)
    assert all(torch.allclose(one, other, atol=close) for (_, one), other in tensors)


def test_bytes_are_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    trained = []
    for workers in (1, 2):
        whole = make_task(workers=workers)
        train(with_features(whole, tmp_path / str(workers)), tmp_path)
        trained.append(list(whole.classifier.state_dict().values()))
    assert all(torch.equal(one, other) for one, other in zip(*trained, strict=True))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: Scaled(*layers(nn.Linear(16, 2))), "its answer is not what its last layer gives"),
        (lambda: Noisy(*layers(nn.Linear(16, 2))), "it draws at random, or averages over a batch"),
        (lambda: nn.Sequential(*layers(nn.BatchNorm1d(16, affine=False), nn.Linear(16, 2))), "averages over a batch"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "is no linear layer"),
    ],
    ids=["scaled", "noisy", "batch norm", "convolution"],
)
def test_a_network_that_features_cannot_stand_for_runs_whole(
    tmp_path: Path, build: Callable[[], nn.Module], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = make_task(build)
    before = {name: tensor.clone() for name, tensor in whole.classifier.state_dict().items()}
    assert with_features(whole, tmp_path) is whole
    printed = capsys.readouterr().out
    assert "train: every epoch runs the whole network, which is slow, because" in printed
    assert reason in printed
    after = whole.classifier.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"views": 0}, "train.views is 0"),
        (augmented(mixup=0.2), "train.augment mixes images"),
        ({"scales": [0.5, 1.0]}, "train.scales changes the size"),
    ],
    ids=["views", "mixup", "scales"],
)
def test_params_that_need_the_images_run_the_whole_network(
    tmp_path: Path, changes: dict[str, Any], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = make_task()
    assert with_features(whole, tmp_path, **changes) is whole
    assert f"slow, because {reason}" in capsys.readouterr().out
    with pytest.raises(ParamsError, match=f"optimizer lbfgs needs features, and {reason}"):
        with_features(whole, tmp_path, optimizer="lbfgs", **changes)


def test_the_knobs_of_the_head_compute_no_features_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_features(make_task(), tmp_path)
    assert "features of 202 images and views, 16 numbers each, 0.0 MB, are computed once" in capsys.readouterr().out
    knobs: dict[str, Any] = {
        "head_lr": 5.0,
        "weight_decay": 0.1,
        "batch_size": 8,
        "optimizer": "adamw",
        "label_smoothing": 0.1,
    }
    with_features(make_task(), tmp_path, lr=0.1, epochs=9, **knobs)
    assert "are taken from" in capsys.readouterr().out
    # More views are added to those that are there, and another seed keeps those of the validation images.
    with_features(make_task(), tmp_path, views=5)
    assert "; 202 are there already" in capsys.readouterr().out
    with_features(make_task(seed=1), tmp_path)
    assert "; 10 are there already" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["weights", "card", "images"])
def test_what_features_depend_on_computes_them_again(
    tmp_path: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with_features(make_task(), tmp_path)
    whole, card, sums = make_task(), CARD, SUMS
    if part == "weights":
        whole.classifier.network.get_parameter("0.bias").data[0] += 1
    card = replace(CARD, precision="bf16") if part == "card" else CARD
    sums = {"train_images": "c", "val_images": "d"} if part == "images" else SUMS
    capsys.readouterr()
    params = recipe(**RECIPE | augmented(flip="random", translate=0))
    on_features(whole, card, params, sha256=sums, folder=tmp_path / ".features")
    printed = capsys.readouterr().out
    assert "are computed once" in printed
    assert "already" not in printed


def in_fold(number: int, *, folds: int = 4) -> tuple[Task, Folds]:
    """Of 64 images, what is left of them when a fold is tested: of what follows it, the first are for validation."""
    images = bright_or_dark(64)
    fold_of = np.arange(64) % folds
    others = np.flatnonzero(fold_of != number)
    val = others[fold_of[others] == (number + 1) % folds][:6]
    train = np.setdiff1d(others, val)
    task = make_task()
    task = replace(
        task,
        train=Split(images.images[train], images.labels[train]),
        val=Split(images.images[val], images.labels[val]),
    )
    return task, Folds(fold_of[train], fold_of[val])


@pytest.mark.parametrize("is_plain", [True, False], ids=["plain", "augmented"])
def test_folds_share_features(tmp_path: Path, is_plain: bool, capsys: pytest.CaptureFixture[str]) -> None:
    params = recipe(**RECIPE | (PLAIN if is_plain else augmented(flip="random") | {"views": 1}))

    def features(number: int, folder: str) -> tuple[Task, Task, str]:
        task, folds = in_fold(number)
        task = replace(task, augment=Augment(0, params.augment))
        sums = {name: f"{name} of fold {number}" for name in SUMS}
        found = on_features(task, CARD, params, sha256=sums, folds=folds, folder=tmp_path / folder)
        return task, found, capsys.readouterr().out

    for number in range(4):
        task, shared, printed = features(number, "shared")
        # Where views are drawn at random, validation images have features of their own.
        images, there = (48, (0, 32, 48, 48)) if is_plain else (54, (0, 32, 48, 48))
        assert f"features of {images} images and views" in printed
        said = f"{there[number]} are there already" if there[number] not in (0, images) else ""
        assert said in printed
        assert ("are taken from" in printed) == (there[number] == images)
        # They do not depend on which folds were run before.
        _, alone, _ = features(number, f"alone {number}")
        assert np.array_equal(shared.train.images, alone.train.images)
        assert np.array_equal(shared.val.images, alone.val.images)
        # They are those of the images.
        plain = with_features(replace(task, augment=Augment(0, NO_AUGMENTATION)), tmp_path / f"plain {number}", **PLAIN)
        assert np.allclose(shared.val.images, plain.val.images, atol=1e-6)
        assert np.allclose(shared.train.images, plain.train.images, atol=1e-6) == is_plain


def test_logistic_regression_trains_the_last_layer(tmp_path: Path) -> None:
    whole = make_task()
    task = with_features(whole, tmp_path, optimizer="lbfgs")
    with RunLog(tmp_path / "log", first_step=0) as log:
        rows = solve(task, recipe(**RECIPE | {"optimizer": "lbfgs", "weight_decay": 1e-3}), log)
    assert len(rows) == 1
    assert rows[0]["val_top1"] == 1.0
    images = torch.from_numpy(bright_or_dark(10).images)
    assert (whole.classifier.eval()(images).argmax(1).numpy() == bright_or_dark(10).labels).all()


def test_a_head_gives_what_the_whole_gives(tmp_path: Path) -> None:
    whole = make_task()
    task = with_features(whole, tmp_path)
    assert isinstance(task.classifier, Head)
    images = torch.from_numpy(np.array(whole.val.images))
    with torch.no_grad():
        answers = whole.classifier.eval()(images)
        found = task.classifier.eval()(torch.from_numpy(np.array(task.val.images)))
    assert torch.allclose(found, answers, atol=1e-6)


@pytest.mark.parametrize(
    ("views", "train", "val", "expected"),
    [("auto", 164, 22, 1), ("auto", 200, 5000, 4), ("auto", 200, 500, 2), (7, 200, 500, 7), (0, 200, 500, 0)],
)
def test_auto_takes_more_views_only_where_validation_costs_more(
    views: int | str, train: int, val: int, expected: int
) -> None:
    augment = recipe(**augmented(flip="random")).augment
    assert choose_views(views, augment, train=train, val=val) == expected
    assert choose_views(views, NO_AUGMENTATION, train=train, val=val) == min(expected, 1)
