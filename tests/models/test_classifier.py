"""The size that a network sees, whatever the images have; and what a classifier begins from."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from imageclf.images.dataset import Dataset
from imageclf.models.card import Card
from imageclf.models.classifier import Classifier, build_classifier, load_classifier, save_classifier
from imageclf.models.registry import build_network
from imageclf.models.zoo import preprocessing
from imageclf.runtime.errors import DataError, ParamsError
from imageclf.weights.initial import begun_classifier, choose_beginning
from tests.small_run import make_card
from tests.training.test_fit import params as train_params

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


def begun(tmp_path: Path, dataset: Dataset = DATASET, **changes: object) -> tuple[Classifier, Card]:
    params = train_params(**changes)
    beginning = choose_beginning(params, dataset, tmp_path)
    card = replace(
        make_card(params.model, size=dataset.size),
        classes=list(dataset.classes),
        channels=dataset.channels,
        network_size=beginning.sees.size,
        head=params.head,
        mean=beginning.sees.mean,
        std=beginning.sees.std,
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


@pytest.mark.parametrize(("known", "size"), [(True, "auto"), (False, "32")])
def test_weights_for_images_of_another_size_say_which(tmp_path: Path, known: bool, size: str) -> None:
    card = make_card("notes_cnn", size=(32, 32))
    save_classifier(build_classifier(card), card, tmp_path / "before")
    path = tmp_path / "before/weights.safetensors"
    if not known:
        path = tmp_path / "notes.safetensors"
        save_file(build_classifier(card).network.state_dict(), path)
    with pytest.raises(ParamsError, match=rf"fits notes_cnn for 32x32 pixels, not 64x64; set train\.size to {size}$"):
        begun(tmp_path, model="notes_cnn", weights=str(path), size=64)


def test_weights_that_fit_no_size_are_of_another_model(tmp_path: Path, file: Path) -> None:
    with pytest.raises(DataError, match=r"does not fit train\.model: .*; give the weights of this model"):
        begun(tmp_path, model="notes_cnn", weights=str(file), size=64)


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


def own_weights(folder: Path, model: str = "notes_cnn", *, head: str = "replace", channels: int = 3) -> Path:
    """A copy of the file that a training on other images than DATASET's left, which saw them in another size."""
    card = make_card(model, size=(40, 40), channels=channels)
    card = replace(card, network_size=(32, 32), head=head, mean=[0.1] * channels, std=[0.2] * channels)
    torch.manual_seed(3)
    save_classifier(build_classifier(card), card, folder / "classifier")
    return (folder / "classifier/weights.safetensors").rename(folder / "mine.safetensors")


def test_a_file_of_ours_says_what_it_is_in_one_line_that_is_always_the_same(tmp_path: Path) -> None:
    with safe_open(own_weights(tmp_path), "pt") as file:
        metadata = file.metadata()
    assert list(metadata) == ["classifier"]
    assert metadata["classifier"] == json.dumps(
        {
            "channels": 3,
            "classes": ["ant", "bee", "cat"],
            "head": "replace",
            "mean": [0.1] * 3,
            "model": "notes_cnn",
            "network_size": [32, 32],
            "size": [40, 40],
            "std": [0.2] * 3,
            "tta_flip": False,
        }
    )


@pytest.mark.parametrize(
    ("model", "head", "channels"),
    [
        ("notes_cnn", "replace", 3),
        ("squeezenet1_1", "replace", 1),
        ("squeezenet1_1", "append", 3),
        ("squeezenet1_1", "append_after", 1),
    ],
)
def test_own_weights_go_on_with_all_that_they_had(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, head: str, channels: int
) -> None:
    path = own_weights(tmp_path, model, head=head, channels=channels)
    dataset = replace(DATASET, channels=channels, mean=[0.4] * channels, std=[0.3] * channels)
    classifier, card = begun(tmp_path, dataset, model=model, weights=str(path), head=head)
    state, saved = classifier.network.state_dict(), load_file(path)
    assert all(torch.equal(state[name], tensor) for name, tensor in saved.items())
    assert (card.network_size, card.mean, card.std) == ((32, 32), [0.1] * channels, [0.2] * channels)
    said = capsys.readouterr().out
    assert f"train: {len(saved)} of {len(saved)} tensors from mine.safetensors" in said
    assert "; the last layer is kept, since the classes are the same; the network sees 32x32 pixels, mean 0.100" in said
    assert said.endswith(", as in their training\n")


def test_train_size_has_the_last_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = own_weights(tmp_path, "squeezenet1_1")
    _, card = begun(tmp_path, model="squeezenet1_1", weights=str(path), size=64)
    assert (card.network_size, card.mean) == ((64, 64), [0.1] * 3)
    assert ", as in their training, except for train.size\n" in capsys.readouterr().out


def test_an_older_file_of_ours_is_known_by_the_card_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = own_weights(tmp_path)
    save_file(load_file(path), path)
    _, card = begun(tmp_path, model="notes_cnn", weights=str(path), size=32)
    assert card.mean == DATASET.mean
    facts = asdict(replace(make_card("notes_cnn", size=(40, 40)), network_size=(32, 32), mean=[0.1] * 3))
    (tmp_path / "card.json").write_text(json.dumps(facts))
    _, card = begun(tmp_path, model="notes_cnn", weights=str(path))
    assert (card.network_size, card.mean) == ((32, 32), [0.1] * 3)
    assert "the last layer is kept" in capsys.readouterr().out


def test_other_classes_get_a_fresh_last_layer_and_a_new_order_new_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = own_weights(tmp_path)
    saved = load_file(path)
    *body, weight, bias = saved
    assert weight.endswith("weight") or bias.endswith("weight")
    other = replace(DATASET, classes=["ant", "bee", "dog", "emu"])
    state = begun(tmp_path, other, model="notes_cnn", weights=str(path))[0].network.state_dict()
    assert len(state[weight]) == 4
    assert all(torch.equal(state[name], saved[name]) for name in body)
    assert "; the last layer is new, since the classes differ; the network sees 32x32" in capsys.readouterr().out
    turned = replace(DATASET, classes=["cat", "ant", "bee"])
    state = begun(tmp_path, turned, model="notes_cnn", weights=str(path))[0].network.state_dict()
    assert torch.equal(state[weight], saved[weight][[2, 0, 1]])
    assert torch.equal(state[bias], saved[bias][[2, 0, 1]])
    assert "; the last layer is kept, its rows reordered like the classes; " in capsys.readouterr().out


def test_own_weights_of_another_model_or_head_and_damaged_ones_are_one_sentence(tmp_path: Path) -> None:
    path = own_weights(tmp_path)
    with pytest.raises(
        ParamsError, match=r"trained with train\.model notes_cnn, and train\.model is cifarnet; change one"
    ):
        begun(tmp_path, model="cifarnet", weights=str(path))
    path = own_weights(tmp_path, "squeezenet1_1", head="append")
    with pytest.raises(
        ParamsError, match=r"trained with train\.head append, and train\.head is replace; change one of"
    ):
        begun(tmp_path, model="squeezenet1_1", weights=str(path))
    save_file(load_file(path), path, {"classifier": "{}"})
    with pytest.raises(DataError, match=r"mine\.safetensors is damaged: its metadata cannot be read"):
        begun(tmp_path, model="squeezenet1_1", weights=str(path))
