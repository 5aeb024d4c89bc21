"""JPEGs that cost as much to decode as photographs do, the same bytes every time, in class folders."""

import json
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from imageclf.datasets.folder import make_manifest
from imageclf.randomness import random_integers
from imageclf.runtime.files import write_sums

CLASSES = [f"class {number}" for number in range(10)]
SIZES = [(500, 375), (375, 500), (500, 333), (480, 360)]  # width, height in pixels
CANVASES, CANVAS = 8, (1024, 1024)
OCTAVES = range(2, 11)  # powers of two: patches across a canvas
FALL = 0.55  # of the strength from one octave to the next, as its power of two: files of some 60 KB
CONTRAST = 70  # standard deviation of the values, of 255
QUALITY = 90


def write_photos(folder: Path, count: int) -> None:
    """`count` JPEGs below `folder`, about as many in each class."""
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(_write_photo, folder), range(count), chunksize=100))


def write_manifest(folder: Path, raw: Path) -> None:
    """What download leaves in data/raw for such a folder."""
    raw.mkdir(parents=True)
    make_manifest([str(folder)]).write(raw)
    facts = {"name": folder.name, "classes": CLASSES, "roots": [str(folder)], "kind": "files"}
    (raw / "dataset.json").write_text(json.dumps(facts))
    write_sums(raw)


def _write_photo(folder: Path, number: int) -> None:
    width, height = SIZES[number % len(SIZES)]
    canvas = _canvas(number % CANVASES)
    left, top = (int(random_integers(side, number, axis)) for axis, side in enumerate(CANVAS))
    shown = np.roll(canvas, (-top, -left), (0, 1))[:height, :width]
    light = 0.7 + 0.05 * int(random_integers(11, number, 2))
    picture = Image.fromarray((shown * light).astype(np.uint8))
    picture.save(folder / CLASSES[number % len(CLASSES)] / f"{number:06d}.jpg", quality=QUALITY)


@cache
def _canvas(number: int) -> np.ndarray:
    """Noise whose strength falls with its frequency, as that of photographs does, uint8 (H, W, 3)."""
    generator = np.random.default_rng(number)
    total = np.zeros((*CANVAS, 3))
    for octave in OCTAVES:
        patches = generator.integers(0, 256, (2**octave, 2**octave, 3)).astype(np.uint8)
        enlarged = Image.fromarray(patches).resize(CANVAS, Image.Resampling.BICUBIC)
        total += np.asarray(enlarged, float) / 2 ** (FALL * octave)
    return np.clip(128 + CONTRAST * (total - total.mean()) / total.std(), 0, 255).astype(np.uint8)
