"""Every knob of params.yaml: its type, its range and what it must agree with. params.yaml says what each is for."""

import os.path
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

NO_FILE = "data/none"  # an empty file: DVC needs a path that exists
OUTS = ("data/raw", "data/prepared", "models/classifier", "models/export", "metrics")

SIXTEEN_BITS = 65535  # the largest value

Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[int, Field(ge=1)]
NOT_HOME = "^[^~]"
Place = Annotated[str, Field(min_length=1, pattern=NOT_HOME)]  # a path that DVC watches
Scale = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """Exact types, no unknown keys, no nan, no infinity, no changes after reading."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class DataParams(Section):
    """Which images."""

    name: Literal["cifar10", "cifar100", "mnist", "fashion_mnist", "kmnist", "svhn", "stl10", "shapes", "folder"]
    archive: str | None
    path: Place
    also: Place


class PrepareParams(Section):
    """How they are split, and what own images are made into."""

    val_fraction: Annotated[float, Field(ge=0, lt=1)]
    test_fraction: Literal["auto"] | Annotated[float, Field(ge=0, lt=1)]
    seed: Seed
    size: Literal["auto"] | Positive
    window: list[int] | None
    per_class: Positive | None
    on_bad: Literal["fail", "drop"]

    @model_validator(mode="after")
    def _agree(self) -> "PrepareParams":
        window = self.window
        if window is not None and not (len(window) == 2 and 0 <= window[0] < window[1] <= SIXTEEN_BITS):
            raise ValueError(f"window is {window}; it must be two numbers from 0 to 65535, the lower first, or null")
        return self


class AugmentParams(Section):
    """What a training image goes through before the network sees it."""

    flip: Literal["none", "random", "alternate"]
    translate: Annotated[int, Field(ge=0)]
    crop: Annotated[int, Field(ge=0)]
    crop_scale: Scale
    cutout: Annotated[int, Field(ge=0)]
    erasing: Fraction
    policy: Literal["none", "randaugment", "trivialaugment"]
    color: Fraction
    mixup: Annotated[float, Field(ge=0)]
    cutmix: Annotated[float, Field(ge=0)]


class TrainParams(Section):
    """What is trained, and how."""

    seed: Seed
    model: str
    pretrained: bool
    weights: Place
    head: Literal["replace", "append", "append_after"]
    freeze: Literal["none", "backbone"] | Positive
    head_lr: Annotated[float, Field(gt=0)]
    size: Literal["auto"] | Positive
    epochs: Positive
    batch_size: Literal["auto"] | Positive
    shards: Literal["auto"] | Positive
    sampling: Literal["shuffled", "balanced"]
    hard_share: Literal["auto"] | Annotated[float, Field(gt=0, le=1)]
    hard_after: Positive
    drop_last: bool
    precision: Literal["auto", "fp32", "bf16"]
    loss: Literal["cross_entropy", "mse", "l1"]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    class_weights: Literal["none", "balanced"]
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop", "muon"]
    lr: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    nesterov: bool
    weight_decay: Annotated[float, Field(ge=0)]
    clip_norm: Annotated[float, Field(ge=0)]
    schedule: Literal["constant", "cosine", "one_cycle", "step"]
    warmup: Fraction
    final_lr: Fraction
    step_epochs: Positive
    step_factor: Annotated[float, Field(gt=0, le=1)]
    ema: Annotated[float, Field(ge=0, lt=1)]
    keep: Literal["last", "best"]
    patience: Annotated[int, Field(ge=0)]
    scales: Literal["auto"] | Annotated[list[Scale], Field(min_length=1)]
    mirror: bool
    augment: AugmentParams

    @model_validator(mode="after")
    def _agree(self) -> "TrainParams":
        if isinstance(self.shards, int):
            if self.shards & (self.shards - 1):
                raise ValueError(f"shards is {self.shards}; it must be a power of two, or auto")
            if isinstance(self.batch_size, int) and self.shards > self.batch_size:
                raise ValueError(f"shards is {self.shards}, more than batch_size {self.batch_size}; lower it")
        if any(Path(os.path.normpath(self.weights)).is_relative_to(out) for out in OUTS):
            raise ValueError(
                f"weights is {self.weights}, in a folder that the pipeline writes; "
                "copy the file to another folder, and give that path"
            )
        if self.pretrained and self.weights != NO_FILE:
            raise ValueError(f"weights is {self.weights}, and pretrained is true; set one of them back")
        if self.label_smoothing and self.loss != "cross_entropy":
            raise ValueError(f"label_smoothing goes with loss cross_entropy, not {self.loss}; set it to 0")
        if self.class_weights == self.sampling == "balanced":
            raise ValueError("class_weights and sampling are both balanced; one makes up for rare classes, keep that")
        if self.hard_share not in ("auto", 1.0) and self.sampling != "shuffled":
            raise ValueError(f"hard_share goes with sampling shuffled, not {self.sampling}; set it to auto")
        for name in ("mixup", "cutmix"):
            self._check_mixing(name)
        return self

    def _check_mixing(self, name: str) -> None:
        if not getattr(self.augment, name):
            return
        if self.hard_share not in ("auto", 1.0):
            raise ValueError(f"augment.{name} mixes images that hard_share is to tell apart; set that to auto")
        if self.loss != "cross_entropy":
            raise ValueError(f"augment.{name} goes with loss cross_entropy, not {self.loss}; set it to 0")
        if isinstance(self.batch_size, int) and self.batch_size < 2 * (
            self.shards if isinstance(self.shards, int) else min(2, self.batch_size)
        ):
            raise ValueError(
                f"augment.{name} mixes the images of a shard, and a batch_size of {self.batch_size} has shards of one; "
                "raise it, or set shards to 1"
            )


class EvaluateParams(Section):
    """What is shown of the test split."""

    mistakes: Annotated[int, Field(ge=0, le=400)]
    target_precision: Fraction


class ExportParams(Section):
    """What leaves."""

    opset: Annotated[int, Field(ge=18, le=23)]


class RuntimeParams(Section):
    """What cannot change the sense of a result. No stage's `params` names this section."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:(0|[1-9]\d?))?)$")]
    workers: Literal["auto"] | Positive
    prefetch: Annotated[int, Field(ge=0)]
    pin_memory: bool
    log_every: Positive
    checkpoint_every: Annotated[float, Field(gt=0)]
    histograms: bool


class Params(Section):
    """The whole of params.yaml."""

    data: DataParams
    prepare: PrepareParams
    train: TrainParams
    evaluate: EvaluateParams
    export: ExportParams
    runtime: RuntimeParams
