"""Files out of a .tar.gz, in memory: nothing that an archive says decides what is written to disk."""

import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from stages.sources.fault import Fault


def read_members(path: Path, wanted: Mapping[str, int]) -> dict[str, bytes]:
    """Read the members that `wanted` names in full, each with the most bytes it may have.

    Raises:
        Fault: one is missing, too long, or not a regular file, or the archive is broken.
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
        raise Fault(f"not a whole .tar.gz ({error})") from None
    raise Fault(f"{', '.join(sorted(set(wanted) - set(found)))} is not in it")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> bytes:
    if not member.isreg():
        raise Fault(f"{member.name} in it is not a regular file")
    if member.size > most:
        raise Fault(f"{member.name} in it has {member.size:,} bytes, more than {most:,}")
    stream = archive.extractfile(member)
    assert stream is not None  # a regular file has one
    return stream.read()
