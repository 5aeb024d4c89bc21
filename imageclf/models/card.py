"""card.json: what a trained classifier is, apart from its weights."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

from imageclf.runtime.errors import DataError
from imageclf.runtime.files import brings, check_sums

CLASSIFIER = Path("models/classifier")
METADATA = "classifier"  # the key in weights.safetensors; one, as the file has several in no fixed order


@dataclass(frozen=True)
class Card:
    """Enough to build the classifier again, and to say which data and params made it."""

    model: str
    classes: list[str]
    head: str  # how the last layer came: replace, append or append_after
    size: tuple[int, int]  # height, width of the prepared images, in pixels
    network_size: tuple[int, int]  # that the network sees them in
    channels: int
    mean: list[float]  # for each channel, on the scale 0 to 1
    std: list[float]
    tta_flip: bool  # answers are the mean over an image and its mirror image
    data: str  # name of the data set
    data_sha256: dict[str, str]  # of each prepared array
    made_from: dict[str, str]  # sha256 of the weights that it began from and of the user's module, where there are any
    params: dict[str, Any]  # the sections of params.yaml that shaped it
    precision: str  # that it was trained in: fp32 or bf16
    made_with: dict[str, str]  # versions and the processor's instruction set: other ones may give other bytes
    window: list[int] | None = None  # values of 16-bit grey pictures that become black and white; None: 0 and 65535


class Metadata(BaseModel):
    """The part of a card that stands in weights.safetensors too: what a later training must know to go on from it."""

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
    """Read card.json, once every file beside it is known to be whole.

    Raises:
        DataError: a file of the classifier is missing or damaged.
    """
    if not folder.exists():
        raise DataError(f"{folder} is missing; run {brings('train')}")
    check_sums(folder)
    facts = json.loads((folder / "card.json").read_text())
    return Card(**facts | {key: tuple(facts[key]) for key in ("size", "network_size")})
