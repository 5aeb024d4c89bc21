"""Training learns, repeats itself, and stops when the loss is no number."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from imageclf.config.params import read_params
from imageclf.config.train import TrainParams
from imageclf.evaluation.inference import predict_logits
from imageclf.evaluation.scores import top_k_accuracy
from imageclf.images.dataset import Split
from imageclf.models.classifier import Classifier
from imageclf.models.device import Compute
from imageclf.models.registry import build_network
from imageclf.runtime.errors import Diverged, Pruned
from imageclf.training.auto import Recipe, resolve
from imageclf.training.checkpoint import held_checkpoints
from imageclf.training.log import RunLog, log_folder
from imageclf.training.loop import Task, fit
from imageclf.training.outcome import Average, Row, best_row
from imageclf.training.pruning import environment
from imageclf.training.shared import Network
from tests.augment.augmenting import augmenting
from tests.imports import ROOT

EMPTY = Split(np.zeros((0, 8, 8, 3), np.uint8), np.zeros(0, np.int64))


def bright_or_dark(count: int) -> Split:
    """Two classes that a mean tells apart."""
    labels = np.arange(count) % 2
    noise = np.random.default_rng(0).integers(0, 100, (count, 8, 8, 3))
    return Split((noise + 100 * labels[:, None, None, None]).astype(np.uint8), labels)


def params(**changes: Any) -> TrainParams:
    shipped = read_params(ROOT / "params.yaml").train.model_dump()
    small = {
        "model": "notes_cnn_relu",
        "epochs": 3,
        "batch_size": 16,
        "optimizer": "sgd",
        "lr": 0.05,
        "momentum": 0.6,
        "weight_decay": 0.02,
        "label_smoothing": 0.0,
        "scales": [1.0],
        "shards": 2,
    }
    return TrainParams(**shipped | small | changes)


def recipe(*, images: int = 96, size: tuple[int, int] = (8, 8), **changes: Any) -> Recipe:
    return resolve(params(**changes), images=images, size=size)


CPU = Compute(torch.device("cpu"), "fp32", 2)


def train(
    folder: Path, *, val: Split = EMPTY, compute: Compute = CPU, tta_flip: bool = False, **changes: Any
) -> tuple[list[Row], Classifier]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = build_network("notes_cnn_relu", classes=2, channels=3, size=(8, 8))
    classifier = Classifier(network, [0.5] * 3, [0.25] * 3, tta_flip=tta_flip)
    with held_checkpoints(folder / "checkpoints") as checkpoints, RunLog(folder / "log", first_step=0) as log:
        history = fit(
            Task(classifier, bright_or_dark(96), val, augmenting(0, flip="random"), compute),
            recipe(**changes),
            begun=None,
            checkpoints=checkpoints,
            checkpoint_every=1000,
            log=log,
            log_every=2,
        )
    return history, classifier


def test_it_learns_what_can_be_learned(tmp_path: Path) -> None:
    history, _ = train(tmp_path, val=bright_or_dark(20))
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert history[-1]["val_top1"] == 1.0


@pytest.mark.parametrize(("loss", "lr"), [("mse", 0.2), ("l1", 0.05)])
def test_the_notes_other_losses_learn_too(tmp_path: Path, loss: str, lr: float) -> None:
    assert train(tmp_path, loss=loss, epochs=10, lr=lr)[0][-1]["train_top1"] > 0.9


def test_without_validation_its_columns_are_empty(tmp_path: Path) -> None:
    assert "val_loss" not in train(tmp_path, epochs=1)[0][0]


# Neither bright nor dark: what is said of them changes from epoch to epoch.
NOISY = Split(np.random.default_rng(1).integers(0, 200, (40, 8, 8, 3)).astype(np.uint8), np.arange(40) // 20)


def test_the_best_epoch_is_kept_and_the_earlier_of_equals(tmp_path: Path) -> None:
    wild: dict[str, Any] = {"epochs": 8, "lr": 0.1, "schedule": "constant", "warmup": 0.0, "momentum": 0.9}
    history, best = train(tmp_path, val=NOISY, keep="best", **wild)
    epoch = int(best_row(history)["epoch"])
    assert epoch < 8
    assert history[-1]["val_top1"] < history[epoch - 1]["val_top1"]
    shown = predict_logits(best, NOISY.images, device=torch.device("cpu"), threads=1)
    assert top_k_accuracy(shown.numpy(), NOISY.labels, 1) == history[epoch - 1]["val_top1"]
    up_to_it, last = train(tmp_path, val=NOISY, **wild | {"epochs": epoch})
    assert up_to_it == history[:epoch]
    assert all(torch.equal(a, b) for a, b in zip(best.state_dict().values(), last.state_dict().values(), strict=True))


def test_patience_ends_it_after_so_many_epochs_without_a_better_one(tmp_path: Path) -> None:
    history, _ = train(tmp_path, val=bright_or_dark(20), epochs=10, patience=3)
    best = int(best_row(history)["epoch"])
    assert len(history) == best + 3 < 10
    unending = train(tmp_path, val=bright_or_dark(20), epochs=10)[0]
    assert len(unending) == 10
    assert unending[: best + 3] == history


def test_the_average_is_that_of_the_weights_after_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[torch.Tensor]] = []
    follow = Average.follow

    def watched(self: Average, step: int) -> None:
        assert step == len(seen)
        seen.append([tensor.clone() for tensor in self._current()])
        follow(self, step)

    def begun(self: Average, network: Network, decay: float) -> None:
        begin(self, network, decay)
        seen.append([tensor.clone() for tensor in self._current()])

    begin = Average.__init__
    monkeypatch.setattr(Average, "__init__", begun)
    monkeypatch.setattr(Average, "follow", watched)
    history, averaged = train(tmp_path, val=NOISY, ema=0.8)
    expected = seen[0]
    for step, weights in enumerate(seen[1:], start=1):
        decay = min(0.8, step / (step + 9))
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, weights, strict=True)]
    network = Network(averaged)
    torch.testing.assert_close([each.detach() for each in (*network.trainable, *network.statistics)], expected)
    shown = predict_logits(averaged, NOISY.images, device=torch.device("cpu"), threads=1)
    assert top_k_accuracy(shown.numpy(), NOISY.labels, 1) == history[-1]["val_top1"]
    assert [row["train_loss"] for row in history] == [row["train_loss"] for row in train(tmp_path)[0]]


def test_balanced_sampling_and_mixing_learn_too(tmp_path: Path) -> None:
    augment = recipe().augment.model_dump() | {"mixup": 0.2, "cutmix": 0.2}
    history, _ = train(tmp_path, val=bright_or_dark(20), sampling="balanced", augment=augment, epochs=6)
    assert history[-1]["val_top1"] > 0.9


def test_validation_does_not_change_what_is_trained(tmp_path: Path) -> None:
    with_val, without = train(tmp_path, val=bright_or_dark(20))[1], train(tmp_path)[1]
    assert all(
        torch.equal(a, b) for a, b in zip(with_val.state_dict().values(), without.state_dict().values(), strict=True)
    )


def test_mirror_images_are_left_to_evaluate(tmp_path: Path) -> None:
    plain, _ = train(tmp_path / "plain", val=NOISY, epochs=1)
    scored, mirrored = train(tmp_path / "mirrored", val=NOISY, epochs=1, tta_flip=True)
    assert scored == plain
    assert mirrored.tta_flip


def test_a_rate_too_high_ends_with_the_step_and_the_rate(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"the loss became (nan|inf) at step \d+ \(learning rate"):
        train(tmp_path, lr=1e30, schedule="constant", warmup=0.0)


@pytest.mark.parametrize("val", [Split(NOISY.images[:0], NOISY.labels[:0]), NOISY], ids=["no validation", "validation"])
def test_weights_that_the_last_step_spoiled_are_no_result(tmp_path: Path, val: Split) -> None:
    with pytest.raises(Diverged, match=r"the weights are nan or infinite after step 1 \(learning rate"):
        train(tmp_path, val=val, epochs=1, batch_size=96, lr=1e38, weight_decay=1e4, schedule="constant", warmup=0.0)


def test_drop_last_decides_about_the_incomplete_batch(tmp_path: Path) -> None:
    def steps(drop_last: bool) -> int:
        train(tmp_path, epochs=1, batch_size=40, drop_last=drop_last)
        events = EventAccumulator(str(tmp_path / "log"))
        events.Reload()
        return events.Scalars("train/loss")[0].step

    assert (steps(True), steps(False)) == (2, 3)


def test_tensorboard_has_the_curves(tmp_path: Path) -> None:
    train(tmp_path, val=bright_or_dark(20))
    events = EventAccumulator(str(tmp_path / "log"))
    events.Reload()
    of_epochs, of_steps = ["train/loss", "train/top1", "val/loss", "val/top1"], ["images_per_second", "loss", "lr"]
    # In this order the HParams tab takes them, and shows the first five.
    assert sorted(events.Tags()["scalars"]) == of_epochs + [f"within epochs/{name}" for name in of_steps]
    assert [point.step for point in events.Scalars("val/loss")] == [6, 12, 18]


def test_a_run_logs_under_its_experiments_name_or_its_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    plain = log_folder(Path("root"), "a" * 64)
    assert plain.parent == Path("root/logs")
    assert plain != log_folder(Path("root"), "b" * 64)
    monkeypatch.setenv("DVC_EXP_NAME", "slower")
    assert log_folder(Path("root"), "a" * 64) == Path("root/logs/slower")


def test_auto_batches_train_as_the_number_that_they_come_to(tmp_path: Path) -> None:
    auto, _ = train(tmp_path / "auto", epochs=1, batch_size="auto")
    eight, _ = train(tmp_path / "eight", epochs=1, batch_size=8)
    assert auto == eight


def test_a_run_below_what_a_search_needs_ends_after_that_epoch_and_leaves_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [round(row["val_top1"], 6) for row in train(tmp_path / "whole", val=NOISY)[0]]
    record = tmp_path / "pruned.json"
    for name, value in environment({1: whole[0], 2: whole[1] + 0.01, 3: 1.0}, record).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Pruned, match=r"train: pruned after epoch 2/3 at [\d.]+ %, below [\d.]+ %"):
        train(tmp_path / "ended", val=NOISY)
    assert json.loads(record.read_text()) == whole[:2]
    assert not (tmp_path / "ended/checkpoints").exists()
