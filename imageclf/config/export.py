"""The section `export`: how the exported files are written."""

from typing import Annotated

from pydantic import Field

from imageclf.config.section import Section


class ExportParams(Section):
    """How the exported files are written."""

    opset: Annotated[int, Field(ge=18, le=23)]
