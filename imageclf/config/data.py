"""The section `data`: which images."""

from typing import Annotated

from imageclf.config.section import OneOf, Place, Section
from imageclf.datasets.catalogue import CATALOGUE


class DataParams(Section):
    """Which images."""

    name: Annotated[str, OneOf([*CATALOGUE, "folder"])]
    archive: str | None
    path: Place
    also: Place
