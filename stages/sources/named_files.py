"""The files of a folder by what a table calls them, as systems write paths in different ways."""

import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from stages.console.stage import project_root
from stages.console.text import printable
from stages.sources.names import look
from stages.sources.walk import Walk

ELSEWHERE = re.compile(r"/|[A-Za-z]:|\.\.(/|$)|\w+://")  # how paths begin that leave a folder


class NamedFiles:
    """The files that `found` has below `root`."""

    def __init__(self, root: Path, found: Walk) -> None:
        self._files = found.files
        self._there = set(found.files)
        self._folders = set(found.folders)
        self._passed_over = found.passed_over
        places = (root, root.resolve(), project_root() / root)  # the last as a temporary workspace's table means it
        self._places = [f"{os.path.abspath(place)}/" for place in places]  # noqa: PTH100 - follows no link
        self._prefixes = [f"{root}/", f"{root.name}/"]

    def find(self, text: str) -> PurePosixPath | None:
        """The one file that `text` can mean; None if there is none, or several."""
        for path in self._readings(text):
            if path in self._there:
                return path
        for path in self._readings(text):
            alike = self._alike(path)
            if alike:
                return alike[0] if len(alike) == 1 else None
        return None

    def why_not(self, text: str) -> str:
        """The likely cause why `text` means no file, and what to do."""
        for path in self._readings(text):
            alike = self._alike(path)
            if alike:
                return f"may be {printable(alike[0])} or {printable(alike[1])}; write the one that is meant"
            for part in (path, *path.parents):
                reason = self._passed_over.get(printable(str(part)))
                if reason:
                    return f"is left out ({reason}); take the line out, or move the file"
            if path in self._folders:
                return "is a folder; name each file in it"
        near = self._nearest(text)
        if ELSEWHERE.match(text.strip().replace("\\", "/")):
            example = f", as {printable(near)}" if near else ""
            return f"is not in the folder of the table; write paths relative to it{example}"
        if near:
            return f"is not there, but {printable(near)} is; if that is meant, write it so"
        if len(self._files) == 1:
            return "is not there, nor any file but the table; if DVC tracks the images, run dvc pull"
        return "is not there; take the line out or mend it"

    def _readings(self, text: str) -> Iterator[PurePosixPath]:
        """What `text` can stand for, the plainest first."""
        yield PurePosixPath(text)
        slashes = text.strip().replace("\\", "/")
        for way in (text.strip(), slashes, unquote(slashes.removeprefix("file://"))):
            plain = posixpath.normpath(way)
            yield PurePosixPath(plain)
            yield from (PurePosixPath(plain.removeprefix(place)) for place in self._places if plain.startswith(place))
            yield PurePosixPath(plain.lstrip("/"))
            yield from (PurePosixPath(plain.removeprefix(own)) for own in self._prefixes if plain.startswith(own))

    def _alike(self, path: PurePosixPath) -> list[PurePosixPath]:
        return self._looks[look(str(path))]

    def _nearest(self, text: str) -> PurePosixPath | None:
        """The only file of the same name elsewhere in the folder, or of the same name with another ending."""
        path = PurePosixPath(text.strip().replace("\\", "/"))
        for names, name in ((self._names, path.name), (self._stems, path.name), (self._stems, path.stem)):
            if len(names[look(name)]) == 1:
                return names[look(name)][0]
        return None

    @cached_property
    def _looks(self) -> dict[str, list[PurePosixPath]]:
        return self._by(str)

    @cached_property
    def _names(self) -> dict[str, list[PurePosixPath]]:
        return self._by(lambda path: path.name)

    @cached_property
    def _stems(self) -> dict[str, list[PurePosixPath]]:
        return self._by(lambda path: path.stem)

    def _by(self, name: Callable[[PurePosixPath], str]) -> dict[str, list[PurePosixPath]]:
        files: dict[str, list[PurePosixPath]] = defaultdict(list)
        for path in self._files:
            files[look(name(path))].append(path)
        return files
