"""The section `train` of params.yaml: model, optimisation and augmentation."""

import os.path
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from imageclf.augment.transforms import AugmentParams
from imageclf.config.section import NO_FILE, Fraction, OneOf, Place, Positive, Scale, Section, Seed
from imageclf.training.optimizers import LBFGS, OPTIMIZERS

OUTS = ("data/raw", "data/prepared", "models/classifier", "models/export", "metrics")


class TrainParams(Section):
    """Model, optimisation and augmentation."""

    seed: Seed
    model: str
    pretrained: bool
    weights: Place
    head: Literal["replace", "append", "append_after"]
    freeze: Literal["none", "backbone"] | Positive
    views: Literal["auto"] | Annotated[int, Field(ge=0)]
    freeze_epochs: Literal["auto"] | Annotated[int, Field(ge=0)]
    head_lr: Literal["auto"] | Annotated[float, Field(gt=0)]
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    size: Literal["auto"] | Positive
    epochs: Positive
    batch_size: Literal["auto"] | Positive
    shards: Literal["auto"] | Positive
    sampling: Literal["shuffled", "balanced"]
    hard_fraction: Literal["auto"] | Annotated[float, Field(gt=0, le=1)]
    hard_after: Positive
    drop_last: bool
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    loss: Literal["cross_entropy", "mse", "l1"]
    label_smoothing: Literal["auto"] | Annotated[float, Field(ge=0, lt=1)]
    class_weights: Literal["none", "balanced"]
    optimizer: Annotated[str, OneOf(("auto", *OPTIMIZERS, LBFGS))]
    lr: Literal["auto"] | Annotated[float, Field(gt=0)]
    momentum: Literal["auto"] | Annotated[float, Field(ge=0, lt=1)]
    nesterov: bool
    weight_decay: Literal["auto"] | Annotated[float, Field(ge=0)]
    clip_norm: Annotated[float, Field(ge=0)]
    schedule: Literal["constant", "cosine", "linear", "step"]
    warmup: Fraction
    final_lr: Fraction
    step_epochs: Positive
    step_factor: Annotated[float, Field(gt=0, le=1)]
    ema: Annotated[float, Field(ge=0, lt=1)]
    keep: Literal["last", "best"]
    patience: Annotated[int, Field(ge=0)]
    scales: Literal["auto"] | Annotated[list[Scale], Field(min_length=1)]
    tta_flip: bool
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
            raise ValueError(f"weights is {self.weights}, and pretrained is true; reset one of them")
        if self.label_smoothing not in ("auto", 0) and self.loss != "cross_entropy":
            raise ValueError(f"label_smoothing needs loss cross_entropy, not {self.loss}; set it to auto")
        if isinstance(self.freeze_epochs, int) and self.freeze_epochs >= self.epochs:
            raise ValueError(
                f"freeze_epochs is {self.freeze_epochs}, and epochs {self.epochs}; lower it, or set freeze to backbone"
            )
        if self.freeze == "backbone" and self.freeze_epochs not in ("auto", 0):
            raise ValueError(f"freeze_epochs is {self.freeze_epochs}, and freeze is backbone throughout; reset one")
        if self.class_weights == self.sampling == "balanced":
            raise ValueError("class_weights and sampling are both balanced; one is enough, reset the other")
        if self.hard_fraction not in ("auto", 1.0) and self.sampling != "shuffled":
            raise ValueError(f"hard_fraction needs sampling shuffled, not {self.sampling}; set it to auto")
        for name in ("mixup", "cutmix"):
            self._check_mixing(name)
        if self.optimizer == LBFGS:
            self._check_logistic()
        return self

    def _check_logistic(self) -> None:
        for name, needed in (("freeze", "backbone"), ("loss", "cross_entropy"), ("sampling", "shuffled")):
            if getattr(self, name) != needed:
                raise ValueError(
                    f"optimizer {LBFGS} needs {name} {needed}, not {getattr(self, name)}; change one of them"
                )

    def _check_mixing(self, name: str) -> None:
        if not getattr(self.augment, name):
            return
        if self.hard_fraction not in ("auto", 1.0):
            raise ValueError(
                f"augment.{name} mixes images that hard_fraction must rank one by one; set hard_fraction to auto"
            )
        if self.loss != "cross_entropy":
            raise ValueError(f"augment.{name} needs loss cross_entropy, not {self.loss}; set it to 0")
        if isinstance(self.batch_size, int) and self.batch_size < 2 * (
            self.shards if isinstance(self.shards, int) else min(2, self.batch_size)
        ):
            raise ValueError(
                f"augment.{name} mixes the images of a shard, and a batch_size of {self.batch_size} has shards of one; "
                "raise it, or set shards to 1"
            )
