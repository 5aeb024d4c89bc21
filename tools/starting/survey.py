"""Look at a folder of images: its classes, and the size, colour and faults of a sample of its files."""

from array import array
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imageclf.datasets.folder import make_manifest, missed
from imageclf.images.dataset import SPLITS
from imageclf.images.decode import Picture, Unfit, decode
from imageclf.images.kinds import cached_by_dvc
from imageclf.images.remarks import cut_away, needed_window
from imageclf.images.splits import LEAST
from imageclf.runtime.errors import SHOWN, DataError, printable, some
from imageclf.runtime.platform import available_cores

LOOKED_AT = 400  # files, evenly spread over the folder
SIDE = 64  # pixels; the sample is decoded at this size
FEWEST = max(LEAST.values())  # images of a class, with which it has one in each split


@dataclass(frozen=True)
class Survey:
    """What was seen in a folder; sizes, colours and faults are those of the files that were looked at."""

    classes: dict[str, int]  # files by class
    given: dict[str, int]  # files by split, of those that the folder gives to one
    contradicted: dict[str, int]  # files whose content lies in several classes, by class
    looked_at: int
    faults: dict[str, list[str]]  # files that cannot be used, by the kind of their fault
    side: int  # median of the shorter sides, in pixels
    grey: float  # fraction
    window: tuple[int, int] | None  # that 16-bit grey values need; None: none do
    cut_away: str  # what a square in the middle leaves out, where it is much
    left_out: list[str]  # a sentence for each kind of file that was left out, and may be wanted

    @property
    def images(self) -> int:
        """Files in all classes."""
        return sum(self.classes.values())

    @property
    def trained_on(self) -> int:
        """Files that are not given to validation or test."""
        return self.images - self.given.get("val", 0) - self.given.get("test", 0)

    def lines(self) -> list[str]:
        """What to tell about it."""
        names = sorted(self.classes, key=lambda name: -self.classes[name])
        few = names if len(names) <= 8 else [*names[:4], "...", *names[-3:]]
        each = ", ".join(f"{printable(name)} {self.classes[name]:,}" if name in self.classes else name for name in few)
        what = "files" if self.faults else "images"
        lines = [f"{self.images:,} {what} in {len(names)} classes: {each}"]
        if self.given:
            lines.append("given splits: " + ", ".join(f"{count:,} {split}" for split, count in self.given.items()))
        small = [name for name in names if self.classes[name] < FEWEST]
        if small:
            which = ", ".join(map(printable, small[:SHOWN])) + (", ..." if len(small) > SHOWN else "")
            lines.append(
                f"too few images to train, validate and test on: {which}; {FEWEST} are needed, and 10 or more mean more"
            )
        colour = "grey" if self.grey == 1 else "colour" if self.grey == 0 else f"{self.grey:.0%} grey"
        lines.append(f"{self.looked_at:,} looked at: {colour}, the shorter side {self.side} pixels in the middle")
        if self.faults:
            lines.append(f"{sum(map(len, self.faults.values()))} of them cannot be used: {_kinds(self.faults)}")
        if self.contradicted:
            line = f"{sum(self.contradicted.values()):,} files are copies of files in other classes, and cannot be used"
            lost = [name for name in names if self.contradicted.get(name) == self.classes[name]]
            lines.append(line + (f"; dvc repro will stop, as they are all of {some(lost)}" if lost else ""))
        return lines + [self.cut_away] * bool(self.cut_away) + self.left_out


def look_at(root: str) -> Survey:
    """Look at the folder `root`.

    Raises:
        DataError: it is not a folder with images in at least two classes, or none of the files looked at is a picture.
    """
    if not Path(root).is_dir():
        raise DataError(f"{printable(root)} is not a folder; give one with a sub-folder for each class")
    manifest = make_manifest([root])
    chosen = set(np.linspace(0, manifest.number - 1, min(LOOKED_AT, manifest.number)).astype(int).tolist())
    shown, numbers, given, labels, contents = list[Path](), dict[str, int](), Counter[str](), array("i"), array("Q")
    for at, (_, path, label, split, _, _, sha256) in enumerate(manifest.rows()):
        shown += [Path(root) / path] * (at in chosen)
        given[split] += 1
        labels.append(numbers.setdefault(label, len(numbers)))
        contents.append(int(sha256[:16], 16))
    with ThreadPoolExecutor(available_cores()) as pool:
        seen = list(pool.map(_see, shown))
    pictures = [each for each in seen if isinstance(each, Picture)]
    faults: dict[str, list[str]] = {}
    for file, each in zip(shown, seen, strict=True):
        if isinstance(each, str):
            faults.setdefault(each, []).append(file.relative_to(root).as_posix())
    if not pictures:
        words = f"none of {len(seen)} files can be used: {_kinds(faults)}; give a folder of pictures"
        raise DataError(f"{printable(root)}: {words}")
    sizes = [(picture.width, picture.height) for picture in pictures]
    torn = np.bincount(labels, _contradicted(np.asarray(contents), np.asarray(labels)))
    return Survey(
        classes=dict(sorted(zip(numbers, np.bincount(labels).tolist(), strict=True))),
        given={name: given[name] for name in SPLITS if given[name]},
        looked_at=len(seen),
        contradicted={name: int(torn[number]) for name, number in numbers.items() if torn[number]},
        faults=faults,
        side=int(np.median([min(size) for size in sizes])),
        grey=float(np.mean([_is_grey(picture.pixels) for picture in pictures])),
        cut_away=cut_away(sizes),
        window=needed_window([picture.values for picture in pictures if picture.values]),
        left_out=missed(manifest.left_out),
    )


def _kinds(faults: dict[str, list[str]]) -> str:
    """The kinds of fault, the most frequent first, each with some of its files."""
    most = sorted(faults, key=lambda kind: -len(faults[kind]))
    return "; ".join(f"{len(faults[kind])} {kind} ({some(faults[kind])})" for kind in most)


def _contradicted(contents: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which files have a copy with another label, bool (N,), from hashes of their contents uint64 (N,) and labels."""
    picture = np.unique(contents, return_inverse=True)[1]
    lowest, highest = np.full(picture.max() + 1, labels.max()), np.zeros(picture.max() + 1, labels.dtype)
    np.minimum.at(lowest, picture, labels)
    np.maximum.at(highest, picture, labels)
    return (lowest != highest)[picture]


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
