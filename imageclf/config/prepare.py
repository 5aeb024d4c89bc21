"""The section `prepare` of params.yaml: splits and the preprocessing of own images."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from imageclf.config.section import Positive, Section, Seed

SIXTEEN_BITS = 65535  # the largest value


class PrepareParams(Section):
    """Splits and the preprocessing of own images."""

    val_fraction: Annotated[float, Field(ge=0, lt=1)]
    test_fraction: Annotated[float, Field(ge=0, lt=1)]
    seed: Seed
    size: Literal["auto"] | Positive
    fit: Literal["crop", "pad", "stretch"]
    window: list[int] | None
    per_class: Positive | None
    near_copies: Literal["report", "together", "drop"]
    on_bad: Literal["fail", "drop"]

    @model_validator(mode="after")
    def _agree(self) -> "PrepareParams":
        window = self.window
        if window is not None and not (len(window) == 2 and 0 <= window[0] < window[1] <= SIXTEEN_BITS):
            raise ValueError(f"window is {window}; it must be two numbers from 0 to 65535, the lower first, or null")
        return self
