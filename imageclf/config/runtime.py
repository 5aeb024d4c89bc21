"""The section `runtime` of params.yaml, which no stage tracks: it does not affect what is learned."""

from typing import Annotated, Literal

from pydantic import Field

from imageclf.config.section import Positive, Section


class RuntimeParams(Section):
    """Settings of the machine and the logs. No stage's `params` has this section."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:(0|[1-9]\d?))?)$")]
    workers: Literal["auto"] | Positive
    prefetch: Annotated[int, Field(ge=0)]
    pin_memory: bool
    log_every: Positive
    checkpoint_every: Annotated[float, Field(gt=0)]
    histograms: bool
