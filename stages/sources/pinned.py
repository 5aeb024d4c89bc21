"""A file that is known before anything of it is read."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from stages.sources.fault import Fault

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
