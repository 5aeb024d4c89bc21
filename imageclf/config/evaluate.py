"""The section `evaluate`: what is shown of the test split."""

from typing import Annotated

from pydantic import Field

from imageclf.config.section import Fraction, Section


class EvaluateParams(Section):
    """What is shown of the test split."""

    mistakes: Annotated[int, Field(ge=0, le=400)]
    target_precision: Fraction
