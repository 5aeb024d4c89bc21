"""The test split, which evaluate and export alone read."""

from pathlib import Path

from stages.console.errors import DataError
from stages.data.prepared import PREPARED, Split, read_dataset, read_split
from stages.model.card import Card


def read_held_out(card: Card, folder: Path = PREPARED) -> Split:
    """Map the test split into memory, in the classifier's own classes and size.

    Raises:
        DataError: it is missing or empty, or the classifier was trained for other images.
    """
    dataset, test = read_dataset(folder), read_split("test", folder)
    if not len(test):
        raise DataError(f"{folder} has no test images; give the data set some and run dvc repro")
    if (card.classes, card.size, card.channels) != (dataset.classes, dataset.size, dataset.channels):
        raise DataError(
            f"the classifier was trained on {card.data} ({_shape(card.size, card.channels, card.classes)}), and "
            f"{folder} holds {dataset.name} ({_shape(dataset.size, dataset.channels, dataset.classes)}); "
            "run dvc repro train"
        )
    return test


def _shape(size: tuple[int, int], channels: int, classes: list[str]) -> str:
    return f"{len(classes)} classes of {size[1]}x{size[0]}x{channels}"
