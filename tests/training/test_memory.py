"""What a run takes of a GPU's memory is told before it begins, well enough to choose a shard by it."""

import pytest
import torch
from torch import nn

from imageclf.models.device import Compute
from imageclf.models.registry import build_network
from imageclf.training import setup
from imageclf.training.memory import SHARE, WORKSPACE, bytes_per_image, largest_shard


def test_what_is_kept_for_the_backward_pass_is_counted_once() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(512, 2))
    # The convolution keeps the pixels, ReLU and the linear layer its answer, which is one piece of memory.
    assert bytes_per_image(network, 3, (8, 8)) == 4 * (3 * 64 + 8 * 64)


def test_resnet50_takes_what_is_known_of_it() -> None:
    network = build_network("resnet50", classes=10, channels=3, size=(224, 224))
    assert 80e6 < bytes_per_image(network, 3, (224, 224)) < 200e6


def test_a_network_that_needs_values_does_not_tell() -> None:
    class Asks(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels if pixels.sum() > 0 else -pixels

    assert bytes_per_image(Asks(), 3, (8, 8)) == 0


@pytest.mark.parametrize(
    ("megabytes", "loaders", "prefetch"), [(None, 7, 14), (1000, 7, 14), (350, 2, 4), (64, 0, 2), (10, 0, 2)]
)
def test_auto_starts_as_many_loaders_as_shared_memory_has_room_for(
    monkeypatch: pytest.MonkeyPatch, megabytes: int | None, loaders: int, prefetch: int
) -> None:
    monkeypatch.setattr(setup, "free_shared_memory", lambda: megabytes and megabytes * 10**6)
    asked = Compute(torch.device("cuda"), "fp32", 1, packed=True, prefetch=14, loaders=7)
    found = setup.within_shared_memory(asked, 30 * 10**6)
    assert (found.loaders, found.prefetch) == (loaders, prefetch)


@pytest.mark.parametrize(("gigabytes", "images"), [(40, 256), (10, 64), (1, 1)])
def test_the_largest_shard_that_fits(gigabytes: float, images: int) -> None:
    sizes = [256, 128, 64, 32, 1]
    assert largest_shard(int(gigabytes * 1e9), parameters=25_000_000, per_image=80e6, sizes=sizes) == images
    assert images == 1 or images * 80e6 + 24 * 25_000_000 + WORKSPACE <= SHARE * gigabytes * 1e9
