"""Look at a folder of images: its classes, and the size, colour and faults of a sample of its files."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imageclf.datasets.folder import make_manifest, missed
from imageclf.images.decode import Picture, Unfit, decode
from imageclf.images.kinds import cached_by_dvc
from imageclf.runtime.errors import printable
from imageclf.runtime.platform import available_cores

LOOKED_AT = 400  # files, evenly spread over the folder
SIDE = 64  # pixels; the sample is decoded at this size
WIDE_RANGE = 60_000  # 16-bit values up to here use most of their range


@dataclass(frozen=True)
class Survey:
    """What was seen in a folder; sizes, colours and faults are those of the files that were looked at."""

    classes: dict[str, int]  # files by class
    has_test: bool  # whether the folder gives a test split
    looked_at: int
    faults: Counter[str]
    side: int  # median of the shorter sides, in pixels
    grey: float  # fraction
    values: tuple[int, int] | None  # the range of 16-bit grey values; None: there are none
    left_out: list[str]  # a sentence for each kind of file that was left out, and may be wanted

    @property
    def images(self) -> int:
        """Files in all classes."""
        return sum(self.classes.values())

    def lines(self) -> list[str]:
        """What to tell about it."""
        names = sorted(self.classes, key=lambda name: -self.classes[name])
        few = names if len(names) <= 8 else [*names[:4], "...", *names[-3:]]
        each = ", ".join(f"{printable(name)} {self.classes[name]:,}" if name in self.classes else name for name in few)
        lines = [f"{self.images:,} images in {len(names)} classes: {each}"]
        colour = "grey" if self.grey == 1 else "colour" if self.grey == 0 else f"{self.grey:.0%} grey"
        lines.append(f"{self.looked_at:,} looked at: {colour}, the shorter side {self.side} pixels in the middle")
        if self.faults:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self.faults.most_common())
            lines.append(f"{self.faults.total()} of them cannot be used: {kinds}")
        return lines + self.left_out


def look_at(root: str) -> Survey:
    """Look at the folder `root`.

    Raises:
        DataError: it is not a folder with images in at least two classes.
    """
    manifest = make_manifest([root])
    files = manifest.files
    chosen = np.unique(np.linspace(0, len(files) - 1, min(LOOKED_AT, len(files))).astype(int))
    with ThreadPoolExecutor(available_cores()) as pool:
        seen = list(pool.map(_see, [Path(root) / path for path in files["path"].iloc[chosen]]))
    pictures = [each for each in seen if isinstance(each, Picture)]
    return Survey(
        classes={str(name): int(count) for name, count in files["label"].value_counts().sort_index().items()},
        has_test=bool((files["split"] == "test").any()),
        looked_at=len(seen),
        faults=Counter(each for each in seen if isinstance(each, str)),
        side=int(np.median([min(picture.width, picture.height) for picture in pictures])) if pictures else 0,
        grey=float(np.mean([_is_grey(picture.pixels) for picture in pictures])) if pictures else 0.0,
        values=_range([picture.values for picture in pictures if picture.values]),
        left_out=missed(manifest.left_out),
    )


def _see(path: Path) -> Picture | str:
    """The picture, or the kind of its fault."""
    try:
        content = Path(cached_by_dvc(path) or path).read_bytes()
        return decode(content, size=(SIDE, SIDE), channels=3)
    except Unfit as fault:
        return fault.kind
    except OSError:
        return "unreadable"


def _is_grey(pixels: np.ndarray) -> bool:
    return bool((pixels == pixels[..., :1]).all())


def _range(values: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """The range over all pictures, if it is a small part of 16 bits."""
    if not values:
        return None
    low, high = min(low for low, _ in values), max(high for _, high in values)
    return (low, high) if low < high < WIDE_RANGE else None
