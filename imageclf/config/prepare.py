"""The section `prepare` of params.yaml: splits and the preprocessing of own images."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from imageclf.config.section import Positive, Section, Seed

SIXTEEN_BITS = 65535  # the largest value
FOLD = re.compile(r"(\d{1,3})/(\d{1,3})", re.ASCII)


class PrepareParams(Section):
    """Splits and the preprocessing of own images."""

    val_fraction: Annotated[float, Field(ge=0, lt=1)]
    test_fraction: Annotated[float, Field(ge=0, lt=1)]
    seed: Seed
    fold: str
    size: Literal["auto"] | Positive
    fit: Literal["crop", "pad", "stretch"]
    window: list[int] | None
    per_class: Positive | None
    near_copies: Literal["report", "together", "drop"]
    on_bad: Literal["fail", "drop"]

    @property
    def part(self) -> tuple[int, int] | None:
        """The number of the fold, from 0, and of how many; None: no fold. 2/5 is (1, 5)."""
        found = FOLD.fullmatch(self.fold)
        return (int(found[1]) - 1, int(found[2])) if found else None

    @model_validator(mode="after")
    def _agree(self) -> "PrepareParams":
        if self.fold != "none" and not (self.part and 0 <= self.part[0] < self.part[1] and self.part[1] > 1):
            raise ValueError(f"fold is {self.fold!r}; it must be none, or such as 2/5, the second of five")
        window = self.window
        if window is not None and not (len(window) == 2 and 0 <= window[0] < window[1] <= SIXTEEN_BITS):
            raise ValueError(f"window is {window}; it must be two numbers from 0 to 65535, the lower first, or null")
        return self
