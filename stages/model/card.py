"""card.json: what a trained classifier is, apart from its weights."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.console.errors import DataError
from stages.files.remote import brings
from stages.files.sums import check_sums

CLASSIFIER = Path("models/classifier")


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
    mirror: bool  # answers are the mean over an image and its mirror image
    data: str  # name of the data set
    data_sha256: dict[str, str]  # of each prepared array
    made_from: dict[str, str]  # sha256 of the weights that it began from and of the user's module, where there are any
    params: dict[str, Any]  # the sections of params.yaml that shaped it
    precision: str  # that it was trained in: fp32 or bf16
    made_with: dict[str, str]  # versions and the processor's instruction set: other ones may give other bytes
    window: list[int] | None = None  # values of 16-bit grey pictures that become black and white; None: 0 and 65535


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
