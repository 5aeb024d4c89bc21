"""What TensorBoard reads from a run's folder, by its own readers."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from imageclf.models.classifier import Classifier
from imageclf.training.log import RunLog

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def small(*layers: nn.Module) -> Classifier:
    torch.manual_seed(0)
    return Classifier(nn.Sequential(*layers), [0.5] * 3, [0.25] * 3)


def convolutional() -> Classifier:
    return small(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Dropout(0.5), nn.Flatten(), nn.Linear(180, 2))


def test_params_are_in_the_hparams_tab_of_the_run_itself(tmp_path: Path) -> None:
    with RunLog(tmp_path / "run", first_step=0) as log:
        log.params({"train.lr": 0.1, "train.nesterov": True, "train.shards": "auto", "train.scales": [0.75, 1.0]})
    content = read(tmp_path / "run").PluginTagToContent(metadata.PLUGIN_NAME)
    session = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    assert session.hparams["train.lr"].number_value == 0.1
    assert session.hparams["train.nesterov"].string_value == "True"
    assert session.hparams["train.shards"].string_value == "auto"
    assert session.hparams["train.scales"].string_value == "[0.75, 1.0]"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert all(path.is_file() for path in (tmp_path / "run").iterdir())


def test_a_resumed_run_has_each_point_once(tmp_path: Path) -> None:
    with RunLog(tmp_path, first_step=0) as log:
        log.params({"train.lr": 0.1})
        for step in range(6):
            log.scalars(step, {"within epochs/loss": step})
    with RunLog(tmp_path, first_step=4) as log:
        for step in range(4, 8):
            log.scalars(step, {"within epochs/loss": 10 + step})
    found = read(tmp_path)
    assert [(point.step, point.value) for point in found.Scalars("within epochs/loss")] == [
        *((step, step) for step in range(4)),
        *((step, 10 + step) for step in range(4, 8)),
    ]
    assert metadata.SESSION_START_INFO_TAG in found.PluginTagToContent(metadata.PLUGIN_NAME)


def test_what_is_flushed_survives_a_kill(tmp_path: Path) -> None:
    log = RunLog(tmp_path, first_step=0)
    log.scalars(0, {"within epochs/loss": 1.0})
    log.flush()
    assert len(read(tmp_path).Scalars("within epochs/loss")) == 1
    log.__exit__()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "logs").write_text("a file where the folder is to be")
    with RunLog(tmp_path / "logs/run", first_step=0, histograms=True) as log:
        log.params({"train.lr": 0.1})
        log.samples(IMAGES)
        log.graph(convolutional(), IMAGES)
        log.insides(1, convolutional(), IMAGES)
        log.scalars(1, {"loss": 1.0})
        log.flush()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("train: nothing more goes to TensorBoard (")
    assert line.endswith("; the training goes on")


def test_a_disk_that_fills_up_later_is_one_line_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with RunLog(tmp_path, first_step=0) as log:
        log.scalars(1, {"loss": 1.0})
        monkeypatch.setattr(SummaryWriter, "add_scalar", full)
        log.scalars(2, {"loss": 1.0})
        log.scalars(3, {"loss": 1.0})
    (line,) = capsys.readouterr().out.splitlines()
    assert "No space left on device" in line


def test_histograms_and_feature_maps_are_there_on_demand_alone(tmp_path: Path) -> None:
    for histograms in (False, True):
        with RunLog(tmp_path, first_step=0, histograms=histograms) as log:
            log.insides(3, convolutional(), IMAGES)
        tags = read(tmp_path).Tags()
        assert tags["images"] == (["first layer/maps"] if histograms else [])
        assert ("weights/0.weight" in tags["histograms"]) == histograms


def test_looking_inside_changes_nothing(tmp_path: Path) -> None:
    classifier = convolutional().train()
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    torch.manual_seed(7)
    chance = torch.get_rng_state()
    with RunLog(tmp_path, first_step=0, histograms=True) as log:
        log.insides(1, classifier, IMAGES)
    assert all(torch.equal(before[name], tensor) for name, tensor in classifier.state_dict().items())
    assert torch.equal(chance, torch.get_rng_state())
    assert classifier.training
    assert not classifier.network[0]._forward_hooks  # type: ignore[index]


class Attentive(nn.Module):
    """As torch's own layers are put together, vit_b_32 for one: in eval mode they take a way that cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.TransformerEncoderLayer(24, 2, 16, batch_first=True)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.mix(pixels.flatten(2).transpose(1, 2).reshape(len(pixels), -1, 24)).mean(1)


class Untraceable(nn.Module):
    """Raises more than a line once it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, pixels: Tensor) -> Tensor:
        if torch._C._get_tracing_state():
            raise RuntimeError("\n".join(["ERROR: it cannot be traced", *300 * ["a line of the graph"]]))
        return pixels * self.weight


def test_the_graph_of_a_network_with_attention_is_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with RunLog(tmp_path, first_step=0) as log:
        log.graph(small(Attentive()), IMAGES)
    assert read(tmp_path).Tags()["graph"]
    assert torch.backends.mha.get_fastpath_enabled()
    assert capfd.readouterr().out == ""


def test_a_graph_that_cannot_be_traced_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # else this file is the user's own
    with RunLog(tmp_path / "run", first_step=0) as log:
        log.graph(small(Untraceable()), IMAGES)
        log.scalars(1, {"loss": 1.0})
    assert capfd.readouterr() == (
        "train: no graph in TensorBoard (ERROR: it cannot be traced); the training goes on\n",
        "",
    )
    assert read(tmp_path / "run").Tags()["scalars"] == ["loss"]


def test_histograms_of_weights_that_are_no_numbers_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier = convolutional()
    nn.init.constant_(next(classifier.parameters()), float("nan"))
    with RunLog(tmp_path, first_step=0, histograms=True) as log:
        log.insides(1, classifier, IMAGES)
    assert capsys.readouterr().out.startswith("train: no histograms in TensorBoard (")


def test_a_network_without_a_convolution_has_histograms_alone(tmp_path: Path) -> None:
    with RunLog(tmp_path, first_step=0, histograms=True) as log:
        log.insides(1, small(nn.Flatten(), nn.Linear(192, 2)), IMAGES)
    assert read(tmp_path).Tags()["images"] == []
