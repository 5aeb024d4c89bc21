"""DVC's cache: where the object of a hash lies, and whether it still has that hash."""

import json
from pathlib import Path

from stages.files.remote import setting
from stages.verifying.hashes import Hashes, Listing
from stages.verifying.lock import Entry


class Cache:
    """The objects of one project's cache."""

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = hashes
        self._root = (setting("cache", "dir") or Path(".dvc/cache")) / "files" / "md5"

    def object(self, md5: str) -> Path:
        """Where the object of a hash lies, or would."""
        return self._root / md5[:2] / md5[2:]

    def listing(self, entry: Entry) -> Listing | None:
        """What a folder holds according to the cache; None where its object is missing or damaged."""
        if self._is_damaged(entry.md5) is not False:
            return None
        return {row["relpath"]: row["md5"] for row in json.loads(self.object(entry.md5).read_bytes())}

    def objects(self, entry: Entry) -> list[str]:
        """The hashes that an output needs: its own and, for a folder whose object is whole, those of its files."""
        files = self.listing(entry) if entry.is_folder else None
        return [entry.md5, *sorted(set((files or {}).values()))]

    def damaged(self, entry: Entry) -> list[Path]:
        """Objects of an output that have other bytes than their names say."""
        return [self.object(md5) for md5 in self.objects(entry) if self._is_damaged(md5)]

    def missing(self, entry: Entry) -> list[Path]:
        """Objects of an output that are not there."""
        return [self.object(md5) for md5 in self.objects(entry) if self._is_damaged(md5) is None]

    def _is_damaged(self, md5: str) -> bool | None:
        """None where there is no such object."""
        path = self.object(md5)
        return self._hashes.file(path) != md5.removesuffix(".dir") if path.is_file() else None
