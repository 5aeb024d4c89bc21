"""Whatever a network raises, as one sentence."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from stages.console.errors import ParamsError, UserError
from stages.console.text import printable

LONGEST = 200  # letters


@contextmanager
def told(model: str, what: str, remedy: str) -> Iterator[None]:
    """In the block the model does `what`, in words that go after "cannot".

    Raises:
        ParamsError: something was raised, but for a lack of memory.
    """
    try:
        yield
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise ParamsError(f"params.yaml: train.model {model} cannot {what} ({cause(error)}); {remedy}") from None


def cause(error: Exception) -> str:
    """The first sentence of what was raised first, on one line, and where in the user's own code if it was there."""
    first: BaseException = error
    while first.__cause__:
        first = first.__cause__
    words = next((line.strip() for line in str(first).splitlines() if line.strip()), "")
    words = printable(words).split(". ")[0][:LONGEST].rstrip(".")
    if type(first) not in (AssertionError, RuntimeError, ValueError) or not words:
        words = f"{type(first).__name__}: {words}".removesuffix(": ")
    places = [
        f"{Path(frame.filename).relative_to(Path.cwd())}, line {frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if is_own(Path(frame.filename))
    ]
    return f"{words}; {places[-1]}" if places else words


def is_own(file: Path) -> bool:
    """Whether a file lies below this folder, and neither among the packages installed there nor in stages."""
    here = Path.cwd()
    return here in file.parents and here / "stages" not in file.parents and "site-packages" not in file.parts
