"""Own images as their files have them: whole, and larger than they were prepared."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from imageclf.images.decode import Picture, read_picture
from imageclf.images.manifest import places_of
from imageclf.runtime.errors import DataError


@dataclass(frozen=True)
class Original:
    """A picture file at a size to look at."""

    whole: np.ndarray  # uint8 (h, w, C)
    seen: np.ndarray  # what was prepared of it, uint8 (H, W, C)


def read_original(
    place: str | Path, *, side: int, channels: int, fit: str, window: Sequence[int] | None = None
) -> Original:
    """Read a picture file, at most `side` pixels large and no larger than it is; for the rest see `decode`.

    Raises:
        DataError: the file is missing, or cannot be used any more.
    """
    path = Path(place)

    def read(fit: str, pixels: int) -> Picture:
        return read_picture(path, size=(pixels, pixels), channels=channels, fit=fit, window=window)

    whole = read("pad", side)
    kept = min if fit == "crop" else max
    longest, seen = max(whole.width, whole.height), kept(whole.width, whole.height)
    if longest < side:
        whole = read("pad", longest)
    return Original(whole.shown, read(fit, min(side, seen)).pixels)


def read_originals(
    raw: Path,
    paths: Sequence[str],
    *,
    side: int,
    channels: int,
    fit: str,
    window: Sequence[int] | None = None,
    threads: int,
) -> list[Original | DataError | None]:
    """The original of each path in samples.csv, or why it cannot be read; None for images of a built-in set.

    `raw` is the folder that download leaves.
    """
    facts_file = raw / "dataset.json"
    facts = json.loads(facts_file.read_text()) if facts_file.exists() else {}
    if facts.get("kind") != "files":
        return [None] * len(paths)
    places = places_of(raw, facts["roots"], set(paths))
    read = partial(read_original, side=side, channels=channels, fit=fit, window=window)

    def tried(path: str) -> Original | DataError:
        try:
            return read(places.get(path, path))
        except DataError as error:
            return error

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(tried, paths))
