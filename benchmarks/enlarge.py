"""The prepared images again: more of them, or larger ones, in a folder of their own."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from imageclf.images.dataset import PREPARED, read_dataset, read_split
from imageclf.runtime.files import write_json, write_sums

CHUNK = 1000  # images


def enlarge(folder: Path, *, repeats: int, zoom: int, images: int, source: Path = PREPARED) -> Path:
    """Write the first `images` training images into `folder`, `repeats` times, each pixel as `zoom` x `zoom`."""
    dataset, split = read_dataset(source), read_split("train", source)
    count, (height, width) = min(images, len(split)), dataset.size
    size = (zoom * height, zoom * width)
    folder.mkdir(parents=True)
    larger = np.lib.format.open_memmap(
        folder / "train_images.npy", "w+", np.uint8, (repeats * count, *size, dataset.channels)
    )
    for begin in range(0, count, CHUNK):
        piece = split.images[begin : min(begin + CHUNK, count)].repeat(zoom, axis=1).repeat(zoom, axis=2)
        for number in range(repeats):
            larger[number * count + begin :][: len(piece)] = piece
    larger.flush()
    np.save(folder / "train_labels.npy", np.tile(split.labels[:count], repeats))
    write_json(folder / "dataset.json", asdict(replace(dataset, size=size, counts={"train": repeats * count})))
    write_sums(folder)
    return folder
