"""The section `evaluate` of params.yaml: the report and the threshold."""

from typing import Annotated

from pydantic import Field

from imageclf.config.section import Fraction, Section


class EvaluateParams(Section):
    """The report and the threshold."""

    mistakes: Annotated[int, Field(ge=0, le=400)]
    target_precision: Fraction
