"""torchvision's and timm's networks: what is missing is said in one sentence, their weights' preprocessing is known."""

import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from imageclf.models.registry import build_network, network_names
from imageclf.models.zoo import preprocessing, torchvision_names
from imageclf.runtime.errors import MachineError, ParamsError


def test_without_timm_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MachineError, match=r"timm/resnet10t needs timm, which is not installed; pip install timm==[\d.]+$"
    ):
        build_network("timm/resnet10t", classes=3, channels=3, size=(32, 32))


class Timm(ModuleType):
    """As much of timm as we call."""

    def is_model(self, name: str) -> bool:
        return name in self.list_models()

    def list_models(self) -> list[str]:
        return ["small_net", "large_net"]

    def create_model(self, name: str, *, pretrained: bool, num_classes: int = 1000) -> nn.Module:
        assert not pretrained  # it would ask the network
        return nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, num_classes))


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec

    def find_spec(name: str) -> Any:
        return object() if name == "timm" else known(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    monkeypatch.setitem(sys.modules, "timm", Timm("timm"))


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize("head", ["replace", "append", "append_after"])
@pytest.mark.parametrize("channels", [1, 3])
def test_timms_networks_go_by_the_name_behind_timm(head: str, channels: int) -> None:
    network = build_network("timm/small_net", classes=3, channels=channels, size=(8, 8), head=head)
    assert network(torch.zeros(2, channels, 8, 8)).shape == (2, 3)


@pytest.mark.usefixtures("timm")
def test_a_wrong_name_of_timm_gets_the_nearest() -> None:
    with pytest.raises(
        ParamsError, match=r"'timm/smal_net', which timm does not have \(did you mean timm/small_net\?\)"
    ):
        build_network("timm/smal_net", classes=3, channels=3, size=(8, 8))


def test_every_model_of_torchvision_says_what_its_weights_expect() -> None:
    assert set(torchvision_names()) < set(network_names())
    expected = {name: preprocessing(name) for name in torchvision_names()}
    assert all(side >= 224 for sees in expected.values() for side in sees.size)
    assert expected["resnet18"].mean == [0.485, 0.456, 0.406]
    assert expected["inception_v3"].size == (299, 299)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_the_two_from_tensorflow_see_what_torchvision_shows_them(name: str) -> None:
    """Its transforms normalise with ImageNet's mean and deviation, and the networks turn that into another scale."""
    import torchvision.models as zoo

    pixels = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    transforms = zoo.get_model_weights(name).DEFAULT.transforms()
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (transforms.mean, transforms.std))
    with torch.device("meta"):
        network = zoo.get_model(name, transform_input=True, aux_logits=False, init_weights=False)
    theirs = network._transform_input((pixels - mean) / std)
    ours = preprocessing(name)
    mine = (pixels - torch.tensor(ours.mean).view(-1, 1, 1)) / torch.tensor(ours.std).view(-1, 1, 1)
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["vit_b_16", "maxvit_t"])
def test_networks_made_for_one_size_are_made_for_the_one_asked_for(name: str) -> None:
    side = 64 if name == "vit_b_16" else 256 - 32
    with torch.device("meta"):
        network = build_network(name, classes=3, channels=3, size=(side, side))
        assert network(torch.zeros(1, 3, side, side)).shape == (1, 3)
