"""Whatever a network raises, as one sentence."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from stages.console.errors import ParamsError, UserError


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
    """What was raised, on one line, and where in the user's own code if it was there."""
    words = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if type(error) not in (AssertionError, RuntimeError, ValueError) or not words:
        words = f"{type(error).__name__}: {words}".removesuffix(": ")
    places = [
        f"{Path(frame.filename).relative_to(Path.cwd())}, line {frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if is_own(Path(frame.filename))
    ]
    return f"{words[:200]}; {places[-1]}" if places else words[:200]


def is_own(file: Path) -> bool:
    """Whether a file lies below this folder, and neither among the packages installed there nor in stages."""
    here = Path.cwd()
    return here in file.parents and here / "stages" not in file.parents and "site-packages" not in file.parts
