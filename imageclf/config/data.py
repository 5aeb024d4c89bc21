"""The section `data`: which images."""

from typing import Literal

from imageclf.config.section import Place, Section


class DataParams(Section):
    """Which images."""

    name: Literal["cifar10", "cifar100", "mnist", "fashion_mnist", "kmnist", "svhn", "stl10", "shapes", "folder"]
    archive: str | None
    path: Place
    also: Place
