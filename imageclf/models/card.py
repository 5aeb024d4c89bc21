"""card.json: the checkpoint metadata of a trained classifier."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

from imageclf.runtime.errors import DataError
from imageclf.runtime.files import brings, check_sums
from imageclf.runtime.yaml import flat

CLASSIFIER = Path("models/classifier")
METADATA = "classifier"  # the only key in weights.safetensors, because the file does not keep the order of keys


@dataclass(frozen=True)
class Card:
    """Checkpoint metadata: enough to rebuild the classifier, and the data and params that made it."""

    model: str
    classes: list[str]
    head: str  # train.head: replace, append or append_after
    size: tuple[int, int]  # height, width of the prepared images, in pixels
    network_size: tuple[int, int]  # height, width that the network sees
    channels: int
    mean: list[float]  # for each channel, on the scale 0 to 1
    std: list[float]
    tta_flip: bool  # test-time flip: average over an image and its mirror image
    data: str  # name of the data set
    data_sha256: dict[str, str]  # of each prepared array
    made_from: dict[str, str]  # sha256 of the initial weights and of the user's module, if any
    params: dict[str, Any]  # sections of params.yaml that affect it
    precision: str  # of the training: fp32, bf16 or fp16
    made_with: dict[str, str]  # versions and instruction set, which may change the bytes
    auto: dict[str, Any] = field(default_factory=dict)  # what was chosen where params say auto
    window: list[int] | None = None  # values of 16-bit grey pictures that become black and white; None: 0 and 65535
    fit: str = "crop"  # prepare.fit of own images: crop, pad or stretch

    def shown_params(self) -> dict[str, Any]:
        """Params by their full names, and after each auto what was chosen."""
        chosen = {key: f"auto: {value}" for key, value in flat(self.auto).items()}
        return flat(self.params) | chosen


class Metadata(BaseModel):
    """The part of the metadata that is also in weights.safetensors: enough to fine-tune from the file."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    model: str
    classes: list[str]
    head: Literal["replace", "append", "append_after"]
    size: tuple[PositiveInt, PositiveInt]
    network_size: tuple[PositiveInt, PositiveInt]
    channels: PositiveInt
    mean: list[float]
    std: list[PositiveFloat]
    tta_flip: bool


def metadata_of(card: Card) -> dict[str, str]:
    """The metadata of weights.safetensors."""
    facts = Metadata.model_validate(asdict(card))
    return {METADATA: json.dumps(facts.model_dump(), sort_keys=True)}


def read_card(folder: Path = CLASSIFIER) -> Card:
    """Check the integrity of all files, then read card.json.

    Raises:
        DataError: a file of the classifier is missing or damaged.
    """
    if not folder.exists():
        raise DataError(f"{folder} is missing; run {brings('train')}")
    check_sums(folder)
    facts = json.loads((folder / "card.json").read_text())
    return Card(**facts | {key: tuple(facts[key]) for key in ("size", "network_size")})
