"""The section `export` of params.yaml: export settings."""

import pkgutil
from typing import Annotated

from pydantic import Field, model_validator

from imageclf.config.section import OneOf, Section
from imageclf.export import formats

NAMES = [found.name for found in pkgutil.iter_modules(formats.__path__)]


class ExportParams(Section):
    """Export settings."""

    formats: list[Annotated[str, OneOf(NAMES)]]
    int8_loss: Annotated[float, Field(ge=0, lt=1)]
    opset: Annotated[int, Field(ge=18, le=23)]

    @model_validator(mode="after")
    def _check(self) -> "ExportParams":
        if "onnx" not in self.formats or len(set(self.formats)) < len(self.formats):
            raise ValueError(f"formats is {self.formats}; it must name onnx, and nothing twice")
        return self
