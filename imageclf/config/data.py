"""The section `data` of params.yaml: the source of the images."""

from typing import Annotated, Literal

from imageclf.config.section import OneOf, Place, Section
from imageclf.datasets.catalogue import CATALOGUE


class DataParams(Section):
    """The source of the images."""

    name: Annotated[str, OneOf([*CATALOGUE, "folder"])]
    archive: str | None
    path: Place
    also: Place
    group: Literal["none", "folder"]
    corrections: Place
