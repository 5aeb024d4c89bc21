"""The train stage refuses what its data cannot give, and begins as it should, wherever it runs."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from imageclf.config.params import read_params
from imageclf.config.runtime import RuntimeParams
from imageclf.config.train import TrainParams
from imageclf.models.classifier import Classifier, build_classifier, load_classifier
from imageclf.models.device import Compute
from imageclf.models.networks.cifarnet import CifarNet
from imageclf.runtime.errors import ParamsError
from imageclf.runtime.files import write_sums
from imageclf.training import setup
from imageclf.training.auto import resolve
from imageclf.training.frozen import Head
from imageclf.training.log import RunLog
from imageclf.training.loop import Task
from imageclf.training.schedule import plan_course
from stages import train
from tests.small_run import make_card, make_prepared
from tests.training.test_fit import params as train_params


def check_counts(params: TrainParams, train: int, val: int) -> None:
    recipe = resolve(params, images=train, size=(8, 8))
    setup.check_counts(recipe, plan_course(train, recipe), train, val)


@pytest.mark.parametrize(
    ("changes", "name"), [({"keep": "best"}, "keep is best"), ({"patience": 2}, "patience is 2")], ids=str
)
def test_what_goes_by_validation_needs_validation_images(changes: dict[str, Any], name: str) -> None:
    check_counts(train_params(**changes), 100, 1)
    with pytest.raises(ParamsError, match=rf"params\.yaml: train\.{name}, and there are no validation images"):
        check_counts(train_params(**changes), 100, 0)


def test_the_default_needs_none() -> None:
    check_counts(train_params(), 100, 0)


def test_a_batch_that_no_epoch_fills_is_refused() -> None:
    chosen: dict[str, Any] = {"hard_fraction": 0.5, "hard_after": 1, "epochs": 2, "batch_size": 60}
    with pytest.raises(
        ParamsError, match=r"batch_size is 60, more than the 50 training images of train\.hard_fraction; lower it"
    ):
        check_counts(train_params(**chosen), 100, 0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shards": 16}, "train.shards is 16, too many for batches of 8 images; lower it"),
        ({"shards": 8, "mixup": 0.2}, "train.shards is 8, too many for batches of 8 images with mixup or cutmix"),
    ],
    ids=str,
)
def test_more_shards_than_a_small_split_can_fill_are_refused(changes: dict[str, Any], words: str) -> None:
    augment = train_params().augment.model_dump() | {"mixup": changes.pop("mixup", 0.0)}
    with pytest.raises(ParamsError, match=words):
        check_counts(train_params(**{"batch_size": "auto", "augment": augment} | changes), 20, 0)


class _Reached(Exception):
    """Where a test's run ends."""


def make_ready(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, device: str = "cpu", side: int = 16, **changes: Any
) -> None:
    """What main needs: 60 images in two classes, which lie in order: grey, then white."""
    labels = np.arange(60) // 30
    images = 118 + np.random.default_rng(0).integers(0, 20, (60, side, side, 3)) + 100 * labels[:, None, None, None]
    card = make_card(classes=("grey", "white"), size=(side, side))
    make_prepared(folder, card, images=images.astype(np.uint8), labels=labels)
    prepared = folder / "data/prepared"
    for part in ("images", "labels"):
        shutil.copy(prepared / f"test_{part}.npy", prepared / f"train_{part}.npy")
    facts = json.loads((prepared / "dataset.json").read_text())
    sums = {"train_images": "of these images"}
    (prepared / "dataset.json").write_text(json.dumps(facts | {"sha256": sums}))
    write_sums(prepared)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(train, "project_root", lambda: folder)
    monkeypatch.setattr(setup, "choose_compute", lambda *_, **__: Compute(torch.device(device), "fp32", 1))
    read = read_params()
    sections = {TrainParams: read.train.model_copy(update={"batch_size": 10} | changes), RuntimeParams: read.runtime}
    monkeypatch.setattr(train, "read_section", sections.get)


def begin(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Classifier:
    """The classifier that main hands to fit."""
    make_ready(folder, monkeypatch, **settings)
    given: list[Classifier] = []

    def fit(task: Task, *_: object, **__: object) -> None:
        given.append(task.classifier)
        raise _Reached

    monkeypatch.setattr(train, "fit", fit)
    with pytest.raises(_Reached):
        train.main()
    return given[0]


def test_training_begins_on_a_device_that_takes_no_tensor_of_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunLog, "graph", lambda *_: None)  # torch cannot trace without values
    classifier = begin(tmp_path, monkeypatch, device="meta")
    assert {tensor.device.type for tensor in classifier.state_dict().values()} == {"meta"}


def test_the_first_layer_sees_images_of_every_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "WHITENING_IMAGES", 10)
    few = begin(tmp_path / "few", monkeypatch).state_dict()["network.whitening.weight"]
    monkeypatch.undo()
    all_of_them = begin(tmp_path / "all", monkeypatch).state_dict()["network.whitening.weight"]
    torch.testing.assert_close(few[:1], all_of_them[:1], atol=0.01, rtol=0.1)


def test_large_images_are_seen_by_fewer_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(CifarNet, "look_at", lambda _, pixels: seen.append(len(pixels)))
    monkeypatch.setattr(setup, "WHITENING_PIXELS", 20 * 16**2)
    begin(tmp_path / "small", monkeypatch)
    begin(tmp_path / "large", monkeypatch, side=32)
    assert seen == [20, 5]


def test_weights_that_it_begins_from_keep_their_first_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {
        name: torch.randn_like(tensor) if tensor.is_floating_point() else tensor
        for name, tensor in build_classifier(make_card(classes=("grey", "white"))).network.state_dict().items()
    }
    save_file(weights, tmp_path / "begun.safetensors")
    begun = begin(tmp_path / "run", monkeypatch, weights=str(tmp_path / "begun.safetensors")).network.state_dict()
    assert torch.equal(begun["whitening.weight"], weights["whitening.weight"])


def test_images_that_are_enlarged_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(tmp_path / "enlarged", monkeypatch, size=32)
    assert "the prepared images of 16x16 pixels are enlarged to 32x32" in capsys.readouterr().out
    begin(tmp_path / "as they are", monkeypatch)
    assert "enlarged" not in capsys.readouterr().out


FROZEN: dict[str, Any] = {"model": "notes_cnn_relu", "side": 32, "freeze": "backbone"}


def test_a_frozen_backbone_hands_fit_its_last_layer_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(begin(tmp_path, monkeypatch, **FROZEN), Head)
    assert len(list((tmp_path / ".features").glob("*.npy"))) == 1  # there are no validation images


def test_what_logistic_regression_finds_is_saved_with_the_whole_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_ready(tmp_path, monkeypatch, **FROZEN, optimizer="lbfgs", epochs=7)
    assert train.main() == "models/classifier"
    assert "logistic regression by L-BFGS, without epochs, batches and rates" in capsys.readouterr().out
    classifier, _ = load_classifier(tmp_path / "models/classifier")
    answers = classifier(torch.from_numpy(np.load(tmp_path / "data/prepared/train_images.npy")))
    assert (answers.argmax(1).numpy() == np.arange(60) // 30).all()
    assert (tmp_path / "metrics/history.csv").read_text().count("\n") == 2
