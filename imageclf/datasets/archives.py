"""Read archives without unpacking them to disk and without executing anything in them."""

import io
import pickle
import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct

from imageclf.runtime.errors import Fault


def read_members(path: Path, wanted: Mapping[str, int]) -> dict[str, bytes]:
    """Read the members in `wanted`, which maps each name to its largest allowed size in bytes.

    Raises:
        Fault: a member is missing, too large or not a regular file, or the archive is damaged.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                if member.name in wanted:
                    found[member.name] = _content(archive, member, wanted[member.name])
                if len(found) == len(wanted):
                    return found
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise Fault(f"not a complete .tar.gz ({error})") from None
    raise Fault(f"{', '.join(sorted(set(wanted) - set(found)))} is not in it")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> bytes:
    if not member.isreg():
        raise Fault(f"{member.name} in it is not a regular file")
    if member.size > most:
        raise Fault(f"{member.name} in it has {member.size:,} bytes, more than {most:,}")
    stream = archive.extractfile(member)
    assert stream is not None  # a regular file has one
    return stream.read()


def _encode(text: str, encoding: str) -> bytes:
    """Encode latin-1 text, as protocol 2 stores bytes; refuse other codecs."""
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
    """Load a pickle of Python 2 or 3 that has only plain values and numpy arrays.

    Raises:
        Fault: the pickle asks for anything else, or is damaged.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except Fault:
        raise
    except Exception as error:  # the documentation does not list what a damaged pickle raises
        raise Fault(f"a pickle in it is broken ({type(error).__name__})") from None
