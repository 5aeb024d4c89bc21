"""The one place that reads pickles, and only those of arrays, lists and strings."""

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct

from stages.sources.fault import Fault


def _encode(text: str, encoding: str) -> bytes:
    """Protocol 2 spells bytes as latin-1 text; no other codec is looked up."""
    if encoding != "latin1":
        raise Fault(f"a pickle in it asks for the codec {encoding}")
    return text.encode("latin1")


ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise Fault(f"a pickle in it asks for {module}.{name}, which is forbidden") from None


def unpickle(content: bytes) -> Any:
    """Load a pickle of Python 2 or 3 that holds nothing but plain values and numpy arrays.

    Raises:
        Fault: it asks for anything else, or is broken.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except Fault:
        raise
    except Exception as error:  # the documentation names no closed list of what a broken pickle raises
        raise Fault(f"a pickle in it is broken ({type(error).__name__})") from None
