"""A built-in data set: its pinned files, their sources, and how they become arrays."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from imageclf.runtime.errors import Fault, TooSlow

SHOWN = 16  # characters of a hash that a person compares


@dataclass(frozen=True)
class PinnedFile:
    """A file's name, size in bytes and hash as `algorithm:hex`."""

    name: str
    size: int
    digest: str

    def __str__(self) -> str:
        return f"{self.name} ({self.size:,} bytes, {self.digest[:SHOWN]}…)"

    def check(self, path: Path) -> None:
        """Check the size and hash of the file at `path`.

        Raises:
            Fault: the file is missing or different; the message follows the file's name.
        """
        if not path.is_file():
            raise Fault("is not there")
        size = path.stat().st_size
        if size != self.size:
            raise Fault(f"has {size:,} bytes, not {self.size:,}")
        found = digest_of(path, self.digest.split(":")[0])
        if found != self.digest:
            raise Fault(f"has {found[:SHOWN]}…, not {self.digest[:SHOWN]}…")


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    """A file's hash as `algorithm:hex`."""
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


@dataclass(frozen=True)
class Patience:
    """Limits of one transfer: seconds, and bytes a second."""

    connect: float = 10.0
    stall: float = 20.0  # without a byte
    window: float = 20.0  # over which the rate is averaged
    pause: float = 1.0  # before a broken transfer resumes, doubled each time
    slowest: float = 300e3  # minimum rate; a slower host is given up for another; 0: no minimum

    def endless(self) -> "Patience":
        """The same without a minimum rate, for the last source."""
        return replace(self, slowest=0)


class Pace:
    """Checks a transfer against its timeouts and minimum rate."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._begun = self._latest = time.monotonic()
        self._bytes = 0

    def count(self, amount: int) -> None:
        """Count `amount` more bytes; 0 if only time has passed.

        Raises:
            TooSlow: the rate over the last window is below the minimum.
            Fault: no byte arrived for too long.
        """
        now = time.monotonic()
        if amount:
            self._latest = now
        elif now - self._latest >= self._patience.stall:
            raise Fault(f"no byte for {self._patience.stall:g} s")
        self._bytes += amount
        if now - self._begun >= self._patience.window:
            rate = self._bytes / (now - self._begun)
            if rate < self._patience.slowest:
                raise TooSlow(f"only {rate / 1e3:,.0f} kB/s")
            self._begun, self._bytes = now, 0


# train_images, test_images: uint8 (N, H, W, C); train_labels, test_labels: int64 (N,)
Arrays = dict[str, np.ndarray]


class Origin(Protocol):
    """A place that files are downloaded from."""

    def address(self, file: PinnedFile) -> str:
        """The file's address, for messages."""

    def fetch(self, file: PinnedFile, path: Path, patience: Patience) -> None:
        """Download the file to `path` and check it, or raise a Fault."""


@dataclass(frozen=True)
class Source:
    """Files from one origin, and the function that decodes them."""

    origin: Origin
    files: tuple[PinnedFile, ...]
    decode: Callable[[Sequence[Path]], Arrays]  # of the files' paths, in order


def fault_of(arrays: Arrays, classes: Sequence[str]) -> str:
    """What is wrong with a data set's arrays; empty if nothing is."""
    if set(arrays) != {f"{split}_{part}" for split in ("train", "test") for part in ("images", "labels")}:
        return f"its arrays are {', '.join(sorted(arrays))}"
    for split in ("train", "test"):
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        if images.dtype != np.uint8 or images.ndim != 4:
            return f"{split}_images are {images.dtype} {images.shape}, not uint8 (N, H, W, C)"
        if labels.shape != images.shape[:1]:
            return f"{split} has {len(images):,} images and labels of shape {labels.shape}"
        if not set(np.unique(labels)) <= set(range(len(classes))):
            return f"{split}_labels are {labels.min()} to {labels.max()}, of {len(classes)} classes from 0"
    return ""


@dataclass(frozen=True)
class Entry:
    """One data set: its classes in label order, and its sources in the order of trial."""

    name: str
    classes: tuple[str, ...]
    sources: tuple[Source, ...] = ()
    draw: Callable[[], Arrays] | None = None  # draws it instead of downloading it
    sha256: dict[str, str] = field(default_factory=dict)  # of the arrays' values, if known
