"""What a built-in data set is: its pinned files, where they come from, and how arrays are made of them."""

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
    """Its name, its size in bytes and its hash as `algorithm:hex`."""

    name: str
    size: int
    digest: str

    def __str__(self) -> str:
        return f"{self.name} ({self.size:,} bytes, {self.digest[:SHOWN]}…)"

    def check(self, path: Path) -> None:
        """Compare the file at `path` in size and hash.

        Raises:
            Fault: it is another file, or none; the message stands after the file's name.
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
    pause: float = 1.0  # before a broken transfer goes on, doubled each time
    slowest: float = 300e3  # a slower host gives way to another; 0: there is no other

    def endless(self) -> "Patience":
        """The same where no other source is left: slow is better than nothing."""
        return replace(self, slowest=0)


class Pace:
    """Bytes as they come, held against the patience."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._begun = self._latest = time.monotonic()
        self._bytes = 0

    def count(self, amount: int) -> None:
        """Count `amount` bytes more, 0 where there was only time.

        Raises:
            TooSlow: the last window's rate is below the slowest.
            Fault: there was no byte for too long.
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
    """Where files come from."""

    def address(self, file: PinnedFile) -> str:
        """Where this file comes from, for a person."""

    def fetch(self, file: PinnedFile, path: Path, patience: Patience) -> None:
        """Leave the file, checked, at `path`, or raise a Fault."""


@dataclass(frozen=True)
class Source:
    """One way to a data set: files from one origin, and how they are read."""

    origin: Origin
    files: tuple[PinnedFile, ...]
    decode: Callable[[Sequence[Path]], Arrays]  # given the files' paths in order


@dataclass(frozen=True)
class Entry:
    """One data set: its classes in label order and its sources in the order in which they are tried."""

    name: str
    classes: tuple[str, ...]
    sources: tuple[Source, ...] = ()
    draw: Callable[[], Arrays] | None = None  # makes it on the spot instead
    sha256: dict[str, str] = field(default_factory=dict)  # of the arrays' values, where they are known
