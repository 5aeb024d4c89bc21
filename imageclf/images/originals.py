"""Own images as their files have them: whole, and larger than they were prepared."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imageclf.images.decode import Picture, read_picture


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
