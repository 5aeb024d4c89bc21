"""The section `runtime`: what cannot change the sense of a result, so that no stage tracks it."""

from typing import Annotated, Literal

from pydantic import Field

from imageclf.config.section import Positive, Section


class RuntimeParams(Section):
    """What cannot change the sense of a result. No stage's `params` names this section."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:(0|[1-9]\d?))?)$")]
    workers: Literal["auto"] | Positive
    prefetch: Annotated[int, Field(ge=0)]
    pin_memory: bool
    log_every: Positive
    checkpoint_every: Annotated[float, Field(gt=0)]
    histograms: bool
