"""Heat maps: LayerCAM by hand, in the right place, for each family of networks, the same bytes every time."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imageclf.evaluation.heat_map import heat_maps
from imageclf.models.classifier import Classifier
from imageclf.models.registry import ThreeChannels, build_network

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)
ANSWERS = [0, 1, 2, 0, 1]


def classifier(network: nn.Module, *, channels: int = 3, tta_flip: bool = False) -> Classifier:
    return Classifier(network, [0.0] * channels, [1 / 255] * channels, tta_flip=tta_flip)


def cifarnet() -> nn.Module:
    return build_network("cifarnet", classes=3, channels=3, size=(32, 32))


def resnet() -> nn.Module:
    return build_network("resnet18", classes=3, channels=3, size=(32, 32))


def vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    network = VisionTransformer(
        image_size=32, patch_size=4, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=16, num_classes=3
    )
    nn.init.normal_(network.heads[-1].weight)  # torchvision begins with zeros, through which nothing speaks
    return network


def swin() -> nn.Module:
    from torchvision.models import SwinTransformer

    return SwinTransformer(
        patch_size=[4, 4], embed_dim=8, depths=[1, 1], num_heads=[1, 1], window_size=[4, 4], num_classes=3
    )


# The last maps of ResNet are 1x1 and of Swin 4x4 for such small images: the last ones of at least 7x7 are taken.
GRIDS = {cifarnet: (7, 7), resnet: (8, 8), vit: (8, 8), swin: (8, 8)}


@pytest.mark.parametrize(("build", "grid"), GRIDS.items(), ids=[build.__name__ for build in GRIDS])
def test_each_family_has_a_map_that_differs_by_image_and_place(
    build: Callable[[], nn.Module], grid: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    maps = heat_maps(classifier(build(), tta_flip=True), IMAGES, ANSWERS, threads=1)
    assert maps is not None
    assert [each.shape for each in maps] == 5 * [grid]
    assert all(each.min() >= 0 and each.max() > each.min() for each in maps)
    assert not np.array_equal(maps[0], maps[3])


class Corner(nn.Module):
    """The logits are what a 4x4 grid of patches adds up to, and its negative."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 2, kernel_size=4, stride=4, bias=False)
        nn.init.constant_(self.patches.weight, 1.0)

    def forward(self, pixels: Tensor) -> Tensor:
        logit = self.patches(pixels).sum((1, 2, 3))
        return torch.stack([logit, -logit], 1)


@pytest.mark.parametrize("tta_flip", [False, True])
def test_the_map_lies_where_the_image_speaks_for_the_answer(tta_flip: bool) -> None:
    images = np.zeros((1, 16, 16, 1), np.uint8)
    images[0, 4:8, 12:] = 200  # row 1, column 3
    network = classifier(Corner(), channels=1, tta_flip=tta_flip)
    (found,) = heat_maps(network, images, [0], threads=1) or []
    assert np.argwhere(found).tolist() == [[1, 3]]
    (against,) = heat_maps(network, images, [1], threads=1) or []
    assert not against.any()


def test_a_map_is_activation_times_positive_gradient_summed_over_channels() -> None:
    torch.manual_seed(0)
    layer, last = nn.Conv2d(3, 4, kernel_size=4, stride=4), nn.Linear(4 * 8 * 8, 3)
    network = nn.Sequential(layer, nn.Flatten(), last)
    (found, *_) = heat_maps(classifier(network), IMAGES, ANSWERS, threads=1) or []
    with torch.no_grad():
        activations = layer(torch.from_numpy(IMAGES[:1]).permute(0, 3, 1, 2).float()).view(4, 8, 8)
        gradients = last.weight[0].view(4, 8, 8)
        expected = (activations * gradients.clamp(min=0)).sum(0).clamp(min=0)
    assert np.allclose(found, expected.numpy(), rtol=1e-5)


class Strided(nn.Module):
    """Feature maps of 16x16, of which the logit takes every other row and column, or one in all."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.fine = nn.Conv2d(1, 2, 1, bias=False)
        self.coarse = nn.Conv2d(2, 2, 1, stride=stride, bias=False)
        for layer in (self.fine, self.coarse):
            nn.init.constant_(layer.weight, 1.0)

    def forward(self, pixels: Tensor) -> Tensor:
        logit = self.coarse(self.fine(pixels)).sum((1, 2, 3))
        return torch.stack([logit, -logit], 1)


@pytest.mark.parametrize("stride", [4, 16])
def test_strided_layers_leave_no_dots(stride: int) -> None:
    """As the shortcuts of a ResNet do: a gradient that only every other place gets is that of the places around it."""
    images = np.zeros((1, 16, 16, 1), np.uint8)
    images[0, 4:12, 8:] = 200
    (found,) = heat_maps(classifier(Strided(stride), channels=1), images, [0], threads=1) or []
    assert found.shape == (16, 16)
    assert np.array_equal(found > 0, images[0, ..., 0] > 0)
    assert np.allclose(found[found > 0], found.max(), rtol=1e-5)


class Tokens(nn.Module):
    """Tokens of 4x4 pixels: the first channel says how bright, the second is the same for all, and large."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 2, kernel_size=4, stride=4)
        with torch.no_grad():
            self.patches.weight[0], self.patches.weight[1] = 1.0, 0.0
            self.patches.bias.copy_(torch.tensor([0.0, 1e6]))  # type: ignore[union-attr]
        self.mixed = nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.mixed(self.patches(pixels).flatten(2).transpose(1, 2))  # (N, T, 2)
        logit = tokens.sum((1, 2))
        return torch.stack([logit, -logit], 1)


def test_what_all_tokens_have_in_common_speaks_for_no_place() -> None:
    images = np.full((1, 32, 32, 1), 50, np.uint8)
    images[0, 4:8, 12:16] = 200
    (found,) = heat_maps(classifier(Tokens(), channels=1), images, [0], threads=1) or []
    assert found.shape == (8, 8)
    assert np.argwhere(found > found.max() / 2).tolist() == [[1, 3]]


def test_grey_images_in_a_network_for_colour_have_maps() -> None:
    network = classifier(ThreeChannels(cifarnet()), channels=1)
    assert heat_maps(network, IMAGES[..., :1], ANSWERS, threads=1)


class Closed(nn.Module):
    """Answers without a graph to go back through."""

    def __init__(self) -> None:
        super().__init__()
        self.network = cifarnet()

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(pixels)


@pytest.mark.parametrize(
    "network", [nn.Sequential(nn.Dropout(), nn.Flatten(), nn.Linear(3 * 32 * 32, 3)), Closed()], ids=["flat", "closed"]
)
def test_a_network_without_feature_maps_has_none(network: nn.Module) -> None:
    assert heat_maps(classifier(network), IMAGES, ANSWERS, threads=1) is None


def test_no_byte_depends_on_the_threads_or_on_the_other_images() -> None:
    torch.manual_seed(0)
    network = classifier(cifarnet(), tta_flip=True)
    once = heat_maps(network, IMAGES, ANSWERS, threads=1)
    again = heat_maps(network, IMAGES, ANSWERS, threads=3)
    alone = heat_maps(network, IMAGES[2:3], ANSWERS[2:3], threads=2)
    assert once and again and alone
    assert [each.tobytes() for each in once] == [each.tobytes() for each in again]
    assert once[2].tobytes() == alone[0].tobytes()


def test_no_image_makes_no_map_and_no_fuss() -> None:
    assert heat_maps(classifier(cifarnet()), IMAGES[:0], [], threads=1) == []
