"""The section `export` of params.yaml: export settings."""

from typing import Annotated

from pydantic import Field

from imageclf.config.section import Section


class ExportParams(Section):
    """Export settings."""

    opset: Annotated[int, Field(ge=18, le=23)]
