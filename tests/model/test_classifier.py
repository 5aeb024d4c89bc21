"""The size that a network sees, whatever the images have; and what a classifier begins from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stages.console.errors import DataError
from stages.data.prepared import Dataset
from stages.model.beginning import begun_classifier, choose_beginning
from stages.model.card import Card
from stages.model.classifier import Classifier, build_classifier, load_classifier, save_classifier
from stages.model.registry import build_network
from stages.model.zoo import preprocessing
from stages.params.schema import TrainParams
from tests.small_run import make_card
from tests.training.test_fit import recipe

DATASET = Dataset("tiny", ["ant", "bee", "cat"], (20, 30), 3, [0.4] * 3, [0.3] * 3, {}, {})


class Seen(nn.Module):
    """Keeps what it is shown."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.pixels = pixels
        return pixels.mean((2, 3))


def images() -> torch.Tensor:
    return torch.randint(0, 256, (2, 20, 30, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_images_are_resized_to_what_the_network_sees_and_to_its_share_in_training() -> None:
    network = Seen()
    classifier = Classifier(network, [0.4, 0.5, 0.6], [0.2] * 3, network_size=(48, 64))
    for scale, size in ((1.0, (48, 64)), (0.5, (24, 32))):
        classifier(images(), scale)
        assert network.pixels.shape == (2, 3, *size)
        assert network.pixels.is_contiguous(memory_format=torch.channels_last)
    plain = torch.full((1, 20, 30, 3), 51, dtype=torch.uint8)
    classifier(plain)
    assert network.pixels[0, :, 5, 5].tolist() == pytest.approx([-1.0, -1.5, -2.0], abs=1e-6)


def test_a_network_that_sees_images_as_they_are_is_shown_no_other_bits() -> None:
    card = make_card("cifarnet", size=(20, 30))
    assert build_classifier(card).network_size is None
    network = Seen()
    Classifier(network, card.mean, card.std)(images())
    assert torch.equal(network.pixels, (images().permute(0, 3, 1, 2).float() - 127.5) / 63.75)


@pytest.mark.parametrize("head", ["append", "append_after"])
def test_a_saved_classifier_answers_as_before_without_the_file_it_began_from(tmp_path: Path, head: str) -> None:
    card = replace(make_card("squeezenet1_1", size=(20, 30)), network_size=(40, 40), head=head)
    classifier = build_classifier(card).eval()
    save_classifier(classifier, card, tmp_path / "classifier")
    loaded, read = load_classifier(tmp_path / "classifier")
    assert read == card
    assert torch.equal(loaded(images()), classifier(images()))


def begun(tmp_path: Path, **changes: object) -> tuple[Classifier, Card]:
    params: TrainParams = recipe(**changes)
    beginning = choose_beginning(params, DATASET, tmp_path)
    card = replace(
        make_card(params.model, size=DATASET.size),
        network_size=beginning.sees.size,
        head=params.head,
        mean=beginning.sees.mean,
        made_from=beginning.made_from,
    )
    torch.manual_seed(params.seed)
    return begun_classifier(card, beginning), card


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("weights") / "squeezenet.safetensors"
    save_file(build_network("squeezenet1_1", classes=1000, channels=3, size=(64, 64)).state_dict(), path)
    return path


def test_with_weights_the_network_sees_what_they_were_made_for(tmp_path: Path, file: Path) -> None:
    sees = preprocessing("squeezenet1_1")
    _, card = begun(tmp_path, model="squeezenet1_1", weights=str(file))
    assert (card.network_size, card.mean) == (sees.size, sees.mean)
    assert list(card.made_from) == ["weights"]
    _, card = begun(tmp_path, model="squeezenet1_1", weights=str(file), size=64)
    assert (card.network_size, card.mean) == ((64, 64), sees.mean)


def test_without_them_it_sees_the_prepared_images(tmp_path: Path) -> None:
    _, card = begun(tmp_path, model="resnet18")
    assert (card.network_size, card.mean, card.made_from) == (DATASET.size, DATASET.mean, {})
    _, card = begun(tmp_path, model="cifarnet", size=24)
    assert (card.network_size, card.mean) == ((24, 24), DATASET.mean)


@pytest.mark.parametrize(
    ("head", "said"), [("replace", "50 of 52"), ("append", "52 of 52"), ("append_after", "52 of 52")]
)
def test_a_fresh_head_is_a_function_of_the_seed(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str], head: str, said: str
) -> None:
    def states(seed: int) -> dict[str, torch.Tensor]:
        classifier, _ = begun(tmp_path, model="squeezenet1_1", weights=str(file), size=64, head=head, seed=seed)
        return dict(classifier.network.state_dict())

    first, again, other = states(1), states(1), states(2)
    assert f"train: {said} tensors from squeezenet.safetensors" in capsys.readouterr().out
    assert all(torch.equal(first[name], again[name]) for name in first)
    differ = {name for name in first if not torch.equal(first[name], other[name])}
    assert len(differ) == 2  # weight and bias of the fresh layer


def test_weights_of_another_model_are_refused(tmp_path: Path, file: Path) -> None:
    with pytest.raises(
        DataError, match=r"squeezenet\.safetensors does not fit train\.model: 100 of 100 tensors are missing"
    ):
        begun(tmp_path, model="resnet18", weights=str(file), size=64)
