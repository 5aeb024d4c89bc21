"""A user's own network: imported by name, held to its file, every mistake one sentence."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from imageclf.models.card import Card
from imageclf.models.classifier import build_classifier, load_classifier, save_classifier
from imageclf.models.own import source_sha256
from imageclf.models.registry import build_network
from imageclf.runtime.errors import DataError, ParamsError
from tests.small_run import make_card

SOURCE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, *, classes, channels):
        super().__init__()
        self.layer = nn.Linear(channels, classes)

    def forward(self, pixels):
        return self.layer(pixels.mean((2, 3)))

class Positional(Net):
    def __init__(self, classes):
        super().__init__(classes=classes, channels=3)

class NeedsSize(Net):
    def __init__(self, *, classes, channels):
        super().__init__(classes=classes, channels=channels)
        self.layer = nn.Linear(channels * 224 * 224, classes)

    def forward(self, pixels):
        return self.layer(pixels.flatten(1))

class FiveClasses(Net):
    def __init__(self, *, classes, channels):
        super().__init__(classes=5, channels=channels)

class NoNetwork:
    def __init__(self, *, classes, channels):
        pass

number = 3
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/nets.py").write_text(SOURCE)
    (tmp_path / "mine/broken.py").write_text("import torch.nothing_of_that_name")
    (tmp_path / "mine/cut.py").write_text("class Net(")
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        del sys.modules[name]


def build(name: str) -> torch.nn.Module:
    return build_network(name, classes=4, channels=3, size=(8, 8))


def test_it_is_built_for_the_classes_and_channels() -> None:
    assert build("mine.nets:Net")(torch.zeros(2, 3, 8, 8)).shape == (2, 4)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("theirs.nets:Net", "there is no module theirs"),
        ("mine.other:Net", r"there is no module mine\.other"),
        ("mine.net:Net", r"there is no module mine\.net \(did you mean mine\.nets\?\)"),
        ("mine.nets:Other", r"mine\.nets has no class 'Other'; it has Net, Positional, NeedsSize, FiveClasses$"),
        ("mine.nets:number", r"mine\.nets has no class 'number'; it has Net"),
        ("mine.nets:FiveClases", r"mine\.nets has no class 'FiveClases' \(did you mean FiveClasses\?\)"),
        ("mine.nets:Net()", r"has no class 'Net\(\)' \(did you mean Net\?\)"),
        ("mine.nets.FiveClasses", r"did you mean mine\.nets:FiveClasses\?"),
        ("mine.nets.Fiveclass", r"did you mean mine\.nets:FiveClasses\?"),
        ("mine.nets", r"did you mean mine\.nets:Net\?"),
        ("mine/nets.py", r"did you mean mine\.nets:Net\?"),
        ("./mine/nets.py:NeedsSize", r"cannot be imported: .*; did you mean mine\.nets:NeedsSize\?$"),
        ("mine/nets.py:Net", r"there is no module mine/nets \(did you mean mine\.nets:Net\?\)"),
        ("mine.broken.Net", r"package\.module:Class$"),
        ("n" * 300 + ".Net", r"package\.module:Class$"),
        ("mine.nets:NeedsSize", "cannot take images of 8x8 pixels .*; it can take 224x224: set train.size to 224"),
        ("mine.nets:Positional", r"called with classes= and channels=, .* unexpected keyword argument 'channels'"),
        ("mine.nets:FiveClasses", "returns 1x5 for one image; it must return logits, 1x4"),
        ("mine.nets:NoNetwork", "makes a NoNetwork, not a torch.nn.Module"),
        ("mine.broken:Net", r"no module torch\.nothing_of_that_name"),
        ("mine.cut:Net", "cannot be imported: .*; fix it"),
        (":Net", "cannot be imported"),
    ],
)
def test_every_mistake_is_one_sentence(name: str, words: str) -> None:
    with pytest.raises(ParamsError, match=rf"params\.yaml: train\.model .*{words}") as raised:
        build(name)
    assert "\n" not in str(raised.value)


def own_card() -> Card:
    made_from = {"module": source_sha256("mine.nets:Net")}
    return Card(**vars(make_card("mine.nets:Net", size=(8, 8))) | {"made_from": made_from})


def test_a_trained_one_needs_the_file_that_it_was_trained_with(project: Path) -> None:
    save_classifier(build_classifier(own_card()), own_card())
    load_classifier()
    (project / "mine/nets.py").write_text(SOURCE + "# changed\n")
    with pytest.raises(DataError, match=r"mine\.nets:Net has changed since its training began; run dvc repro -f train"):
        load_classifier()


@pytest.mark.parametrize("line", ["from mine.parts import WIDTH", "from .parts import WIDTH", "import mine.parts as p"])
def test_and_the_files_that_it_imports(project: Path, line: str) -> None:
    (project / "mine/nets.py").write_text(f"{line}\nfrom imageclf.models.layers import Conv3x3\n{SOURCE}")
    (project / "mine/parts.py").write_text("WIDTH = 8")
    (project / "mine/other.py").write_text("WIDTH = 8")
    save_classifier(build_classifier(own_card()), own_card())
    (project / "mine/other.py").write_text("WIDTH = 9")
    load_classifier()
    (project / "mine/parts.py").write_text("WIDTH = 9")
    with pytest.raises(DataError, match="has changed since its training began"):
        load_classifier()


def test_a_layer_under_two_names_is_saved(project: Path) -> None:
    again = SOURCE.replace("classes)\n", "classes)\n        self.again = self.layer\n", 1)
    (project / "mine/nets.py").write_text(again)
    classifier = build_classifier(own_card())
    save_classifier(classifier, own_card())
    assert torch.equal(
        load_classifier()[0].state_dict()["network.again.weight"], classifier.state_dict()["network.layer.weight"]
    )
