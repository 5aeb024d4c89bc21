"""A network of the user's is tried before it is trained: what would end the run later is one sentence now."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imageclf.models.card import Card
from imageclf.models.own import source_sha256
from imageclf.runtime.errors import ParamsError
from imageclf.training import trial
from imageclf.training.trial import try_here, try_learning, try_out
from tests.small_run import make_card

# A small network, and what each of the others does in another way.
SOURCE = """
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

class Net(nn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        self.cut, self.out = nn.Conv2d(channels, 8, 3, stride=2), nn.Linear(8, classes)
    def features(self, x):
        return self.cut(x).relu().mean((2, 3))
    def forward(self, x):
        return self.out(self.features(x))
"""
NETWORKS = {
    "Branching": "def forward(self, x): return Net.forward(self, x) * (2 if x.mean() > 0.3 else 1)",
    "Loop": "def forward(self, x): return torch.cat([Net.forward(self, x[i:i + 1]) for i in range(len(x))])",
    "Unknown": "def forward(self, x): return torch.lgamma(Net.forward(self, x).abs() + 1)",
    "Pair": "def forward(self, x): y = Net.forward(self, x); return (y, y) if self.training else y",
    "NoGrad": "def forward(self, x): return Net.forward(self, x).detach()",
    "Frozen": "def __init__(self, **kind): Net.__init__(self, **kind); self.requires_grad_(False)",
    "Double": "def __init__(self, **kind): Net.__init__(self, **kind); self.out.double()",
    "Dropping": "def forward(self, x): return self.out(F.dropout(self.features(x)))",
    "Batch": "def forward(self, x): y = Net.forward(self, x); return y - y.mean(0)",
    "Kept": "scale = 1.0\n    def forward(self, x):\n        if self.training: self.scale = 3.0\n"
    "        return self.scale * Net.forward(self, x)",
    "Extra": "def get_extra_state(self): return {}\n    def set_extra_state(self, state): pass",
    "Typo": "def forward(self, x): return self.outt(x)",
    "Softmax": "def forward(self, x): return Net.forward(self, x).softmax(1)",
    "ByHand": "def forward(self, x): y = Net.forward(self, x).exp(); return y / y.sum(1, keepdim=True)",
    "LogSoftmax": "def forward(self, x): return F.log_softmax(Net.forward(self, x), 1)",
    "Negative": "def forward(self, x): return -Net.forward(self, x).abs()",
    "Sigmoid": "def forward(self, x): return Net.forward(self, x).sigmoid()[:, :, None].squeeze(2)",
    "Lazy": "def __init__(self, **kind): Net.__init__(self, **kind); self.out = nn.LazyLinear(kind['classes'])",
    "Tied": "def __init__(self, **kind): Net.__init__(self, **kind); self.again = self.out",
    "Normed": "def __init__(self, **kind):\n        Net.__init__(self, **kind)\n"
    "        self.cut, self.out = weight_norm(self.cut), spectral_norm(self.out)",
    "Attention": "def __init__(self, **kind):\n        Net.__init__(self, **kind)\n"
    "        self.mix = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)\n"
    "    def features(self, x): return self.mix(self.cut(x).flatten(2).transpose(1, 2)).mean(1)",
}


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("tried")
    others = "".join(f"\nclass {name}(Net):\n    {body}\n" for name, body in NETWORKS.items())
    (folder / "tried_nets.py").write_text(SOURCE + others)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
        yield folder
    sys.modules.pop("tried_nets", None)


def card(name: str, *, precision: str = "fp32") -> Card:
    model = f"tried_nets:{name}"
    return Card(**vars(make_card(model)) | {"made_from": {"module": source_sha256(model)}, "precision": precision})


UNUSUAL = ("Negative", "Lazy", "Tied", "Normed")


@pytest.mark.parametrize(
    "name", ["Net", "Attention", *(pytest.param(name, marks=pytest.mark.slow) for name in UNUSUAL)]
)
def test_what_can_be_trained_saved_and_exported_passes_without_a_word(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try_here(card(name, precision="bf16"))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "Branching",
            r"cannot be exported \(.*data-dependent.*; tried_nets\.py, line \d+\); .* \(torch\.where, not if",
        ),
        ("Loop", r"cannot be exported \(.*\); forward must not depend on .* the number of images"),
        ("Unknown", r"cannot be written as ONNX with opset 18 \(.*lgamma.*\); fix it"),
        ("Pair", r"answers a tuple in training for two images, and \(2, 3\) is needed"),
        ("NoGrad", r"cannot be trained in fp32 \(element 0 of tensors does not require grad.*\); fix it"),
        ("Frozen", "has no parameters that could be trained"),
        ("Double", r"(cannot take images of 16x16 pixels \(|has out.weight in float64)"),
        ("Dropping", r"answers otherwise when asked again; .*training=self\.training"),
        ("Batch", "answers otherwise for an image when others come with it"),
        ("Kept", "answers otherwise once it is saved and loaded: .* register_buffer"),
        ("Extra", r"cannot be saved and loaded \(.*\); fix it"),
        (
            "Typo",
            r"cannot take images of 16x16 pixels \(AttributeError: .*'outt'; tried_nets\.py, line \d+\); fix it",
        ),
    ],
)
def test_what_cannot_is_one_sentence(name: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ParamsError, match=rf"^params\.yaml: train\.model tried_nets:{name} {words}") as raised:
        try_here(card(name))
    assert "\n" not in str(raised.value)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("name", "end"), [("Softmax", "softmax"), ("ByHand", "softmax"), ("Sigmoid", "sigmoid")])
def test_probabilities_in_place_of_logits_are_told(name: str, end: str, capsys: pytest.CaptureFixture[str]) -> None:
    try_learning(card(name))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"train: tried_nets:{name} answers probabilities (it ends in {end}), and logits are needed")


def test_logarithms_of_probabilities_in_place_of_logits_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    try_learning(card("LogSoftmax"))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(
        "train: tried_nets:LogSoftmax answers logarithms of probabilities (it ends in log_softmax), and logits are"
    )


# The smallest of a few families of torchvision's; `python -m tests.proof.models` takes all models through export.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("convnext_tiny", marks=pytest.mark.slow),
        "efficientnet_b0",
        pytest.param("googlenet", marks=pytest.mark.slow),
        "mnasnet0_5",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "notes_cnn",
        "regnet_x_400mf",
        "resnet18",
        "shufflenet_v2_x0_5",
        "squeezenet1_1",
        pytest.param("swin_v2_t", marks=pytest.mark.slow),
    ],
)
def test_a_known_network_is_the_same_once_it_is_saved_and_loaded(name: str) -> None:
    try_learning(make_card(name, size=(32, 32)))


def test_it_is_tried_in_a_process_of_its_own_with_the_sentences_passed_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ParamsError, match=r"^params\.yaml: train\.model tried_nets:Frozen has no parameters"):
        try_out(card("Frozen"), tmp_path)
    assert capsys.readouterr().out.startswith("train: tried_nets:Frozen is tried first")


def test_a_network_of_timm_that_passed_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[str] = []

    def run(command: list[str], *, input: str, **_: object) -> subprocess.CompletedProcess[str]:
        tried.append(json.loads(input)["card"]["model"])
        return subprocess.CompletedProcess(
            command, len(tried) == 1, "a word of its own\ntrain: it ends in softmax\n", ""
        )

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(trial, "version", lambda package: "1.0")
    timm, own = make_card("timm/net"), make_card("tried_nets:Net")
    with pytest.raises(ParamsError):
        try_out(timm, tmp_path)
    for first in (True, False):
        capsys.readouterr()
        try_out(timm, tmp_path)
        printed = capsys.readouterr().out
        assert ("is tried first" in printed) == first
        assert printed.endswith("train: it ends in softmax\n")
        assert "a word of its own" not in printed
    assert len(tried) == 2
    # Another network, and all of the user's own, whose imports are not watched, are tried.
    for other in (replace(timm, precision="bf16"), replace(timm, classes=[*timm.classes, "more"]), own, own):
        try_out(other, tmp_path)
    monkeypatch.setattr(trial, "version", lambda package: "1.1")
    try_out(timm, tmp_path)
    try_out(timm, tmp_path, translate=False)
    assert len(tried) == 8


def test_networks_of_our_own_are_not_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try_out(make_card("cifarnet"), tmp_path)
    assert capsys.readouterr().out == ""
