"""What is wrong, and the command that mends it."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    what: str  # where, and what was found
    repair: str  # a command line for a shell in the folder of dvc.yaml


def words(paths: Iterable[Path | str]) -> str:
    """Paths as a shell reads them."""
    return " ".join(shlex.quote(str(path)) for path in paths)
