"""Models are found by name, get a head for the classes, and report what they cannot do."""

import pytest
import torch

from imageclf.models.networks.cifarnet import CifarNet
from imageclf.models.registry import build_network, check_takes, check_takes_one, check_weight, network_names
from imageclf.runtime.errors import ParamsError


@pytest.mark.parametrize(
    "name", ["cifarnet", "notes_cnn", "notes_cnn_relu", "resnet18", "mobilenet_v3_small", "googlenet"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_answers_for_its_classes(name: str, channels: int) -> None:
    network = build_network(name, classes=7, channels=channels, size=(32, 32)).eval()
    assert network(torch.zeros(2, channels, 32, 32)).shape == (2, 7)


def test_every_classification_model_of_torchvision_has_a_name() -> None:
    names = network_names()
    assert {"vgg16", "vit_b_16", "efficientnet_b0", "convnext_tiny"} <= set(names)
    assert "fcn_resnet50" not in names
    assert len(names) >= 80


def test_a_wrong_name_gets_the_nearest() -> None:
    with pytest.raises(ParamsError, match=r"train.model is 'resnet-18'.*did you mean resnet18"):
        build_network("resnet-18", classes=10, channels=3, size=(32, 32))


def test_images_too_small_for_a_model_are_named() -> None:
    with pytest.raises(ParamsError, match=r"alexnet cannot take images of 32x32 pixels"):
        build_network("alexnet", classes=10, channels=3, size=(32, 32))


@pytest.mark.parametrize(("name", "side"), [("vit_b_32", 30), ("maxvit_t", 32)])
def test_a_size_that_a_model_is_not_built_for_is_one_sentence_too(name: str, side: int) -> None:
    with pytest.raises(
        ParamsError, match=rf"{name} cannot take images of {side}x{side} pixels \(.*\); set train\.size to 224"
    ) as raised:
        build_network(name, classes=3, channels=3, size=(side, side))
    assert "\n" not in str(raised.value)


def test_a_network_built_for_one_size_names_the_size_or_the_param_that_gives_another() -> None:
    with pytest.raises(ParamsError, match=r"notes_cnn cannot take images of 7x7 pixels \(.*\); set train\.size to 32"):
        build_network("notes_cnn", classes=3, channels=3, size=(7, 7))
    network = build_network("notes_cnn", classes=3, channels=3, size=(32, 32))
    with pytest.raises(ParamsError, match=r"24x24 pixels \(.*\); set train\.scales to \[1\.0\]"):
        check_takes(network, "notes_cnn", 3, (24, 24), "set train.scales to [1.0]")


def test_more_weights_than_an_onnx_file_holds_are_refused() -> None:
    with torch.device("meta"):
        check_weight(torch.nn.Linear(1024, 1024), "small")
        with pytest.raises(ParamsError, match=r"large has 2\.1 GB of weights, and an ONNX file holds at most 2"):
            check_weight(torch.nn.Linear(2**19, 2**10), "large")


def test_whitening_makes_patches_white() -> None:
    torch.manual_seed(0)
    smooth = torch.nn.functional.avg_pool2d(torch.randn(200, 3, 34, 34), 3, 1)  # neighbours hang together
    network = CifarNet(classes=10, channels=3, widths=(32, 96, 128))
    network.look_at(smooth, floor=0.0)
    out = network.whitening(smooth)[:, :12].permute(1, 0, 2, 3).flatten(1)  # (12, N); the other 12 are its negatives
    torch.testing.assert_close(out @ out.T / out.shape[1], torch.eye(12), atol=1e-3, rtol=0)


def test_a_network_that_cannot_be_trained_on_one_image_says_so() -> None:
    network = build_network("resnet18", classes=3, channels=3, size=(32, 32))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    check_takes_one(network, "resnet18", 3, (64, 64))
    with pytest.raises(ParamsError, match=r"resnet18 cannot be trained on a shard of one image \(Expected more than 1"):
        check_takes_one(network, "resnet18", 3, (32, 32))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
