"""What a run leaves beside its result, which is no reason for it to end."""

from collections.abc import Callable
from pathlib import Path

from stages.console.text import printable


def made(path: Path, make: Callable[[], bytes], *, instead: Callable[[str], bytes]) -> bytes:
    """What `make` gives; where it fails a line says why, and `path` is to hold what `instead` makes of that line."""
    try:
        return make()
    except Exception as error:
        words = printable(f"{path} cannot be made ({type(error).__name__}: {error})"[:300])
        print(f"{words}; the run goes on", flush=True)
        return instead(words)
