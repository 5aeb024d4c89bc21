"""What the catalogue says of a data set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from stages.sources.pace import Patience
from stages.sources.pinned import PinnedFile

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
    needs: str = ""  # a package, `name==version`, that reading it takes beyond requirements.txt
    sha256: dict[str, str] = field(default_factory=dict)  # of the arrays' values, where they are known
