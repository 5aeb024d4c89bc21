"""The section `runtime` of params.yaml, which no stage tracks: it does not affect what is learned."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from imageclf.config.section import Positive, Section


class RuntimeParams(Section):
    """Settings of the machine and the logs. No stage's `params` has this section."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:(0|[1-9]\d?))?)$")]
    processes: Literal["auto"] | Positive
    workers: Literal["auto"] | Positive
    prefetch: Annotated[int, Field(ge=0)]
    loaders: Literal["auto"] | Annotated[int, Field(ge=0)]
    pin_memory: bool
    cuda_graphs: bool
    log_every: Positive
    checkpoint_every: Annotated[float, Field(gt=0)]
    resume_anywhere: bool
    histograms: bool

    @model_validator(mode="after")
    def _check(self) -> "RuntimeParams":
        if isinstance(self.processes, int) and self.processes & (self.processes - 1):
            raise ValueError(f"processes is {self.processes}; it must be a power of two, or auto")
        return self
