"""The files of a folder that a table names, however it writes them."""

import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from imageclf.datasets.names import look
from imageclf.datasets.walk import Walk
from imageclf.runtime.errors import printable
from imageclf.runtime.stage import project_root

ELSEWHERE = re.compile(r"/|[A-Za-z]:|\.\.(/|$)|\w+://")  # the beginning of a path that leaves the folder


class NamedFiles:
    """Finds the files of `found` below `root` by their names in a table."""

    def __init__(self, root: Path, found: Walk) -> None:
        self._there = dict.fromkeys(found.paths())  # a set that keeps their order
        self._folders = set(map(str, found.folders))
        self._passed_over = found.passed_over
        places = (root, root.resolve(), project_root() / root)  # the last for a table in a temporary workspace
        self._places = [f"{os.path.abspath(place)}/" for place in places]  # noqa: PTH100 - follows no link
        self._prefixes = [f"{root}/", f"{root.name}/"]

    def find(self, text: str) -> str | None:
        """The path of the only file that `text` can mean; None if there is none, or several."""
        for path in self._readings(text):
            if path in self._there:
                return path
        alike = self._meant(text)
        return alike[0] if len(alike) == 1 else None

    def why_not(self, text: str) -> str:
        """The probable reason why `text` names no file, and what to do."""
        alike = self._meant(text)
        if alike:
            return f"may be {printable(alike[0])} or {printable(alike[1])}; write the correct one"
        for path in self._readings(text):
            for part in (path, *PurePosixPath(path).parents):
                reason = self._passed_over.get(printable(str(part)))
                if reason:
                    return f"is left out ({reason}); remove the line, or move the file"
            if path in self._folders:
                return "is a folder; name each file in it"
        near = self._nearest(text)
        if ELSEWHERE.match(text.strip().replace("\\", "/")):
            example = f", such as {printable(near)}" if near else ""
            return f"is not in the folder of the table; write paths relative to it{example}"
        if near:
            return f"is not there, but {printable(near)} is; if you mean that file, use its name"
        if len(self._there) == 1:
            return "is not there, and the table is the only file; if DVC tracks the images, run dvc pull"
        return "is not there; remove the line or fix it"

    def _readings(self, text: str) -> Iterator[str]:
        """All paths that `text` can mean, the most literal first."""
        return (str(PurePosixPath(reading)) for reading in self._written(text))

    def _written(self, text: str) -> Iterator[str]:
        yield text
        slashes = text.strip().replace("\\", "/")
        for way in (text.strip(), slashes, unquote(slashes.removeprefix("file://"))):
            plain = posixpath.normpath(way)
            yield plain
            yield from (plain.removeprefix(place) for place in self._places if plain.startswith(place))
            yield plain.lstrip("/")
            yield from (plain.removeprefix(own) for own in self._prefixes if plain.startswith(own))

    def _meant(self, text: str) -> list[str]:
        """The files that `text` can mean, of the reading that is nearest to it."""
        readings = list(self._readings(text))
        for path in readings:
            if self._looks[look(path)]:
                return self._looks[look(path)]
        if any(path in self._folders or printable(path) in self._passed_over for path in readings):
            return []
        for path in readings:
            if self._whole[look(path)]:
                return self._whole[look(path)]
        name = look(text.strip())
        return [] if {"/", "\\"} & set(name) else self._names[name] or self._stems[name]

    def _nearest(self, text: str) -> str | None:
        """The only file with this name elsewhere in the folder, or with this name and another extension."""
        path = PurePosixPath(text.strip().replace("\\", "/"))
        for names, name in ((self._names, path.name), (self._stems, path.name), (self._stems, path.stem)):
            if len(names[look(name)]) == 1:
                return names[look(name)][0]
        return None

    @cached_property
    def _looks(self) -> dict[str, list[str]]:
        return self._by(str)

    @cached_property
    def _whole(self) -> dict[str, list[str]]:
        return self._by(lambda path: str(path.with_suffix("")))

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        return self._by(lambda path: path.name)

    @cached_property
    def _stems(self) -> dict[str, list[str]]:
        return self._by(lambda path: path.stem)

    def _by(self, name: Callable[[PurePosixPath], str]) -> dict[str, list[str]]:
        files: dict[str, list[str]] = defaultdict(list)
        for path in self._there:
            files[look(name(PurePosixPath(path)))].append(path)
        return files
