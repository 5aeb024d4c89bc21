"""A disk that loses power: it counts what a stage writes, syncs and renames, and stops at one of these points.

What was not synced is then damaged, as it may be on a real one: a file's content before its own fsync, a rename
before its folder's. Nothing of it lies in the stages; Python's own functions are exchanged in the process that crashes.
"""

import builtins
import io
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

DAMAGES = ("nothing", "half", "garbage")  # what is left of a file that was not synced
CRASHED = 137


class Disk:
    """Ends the process at the `crash_at`-th point, counted from 0 (-1: never); `damage` is one of DAMAGES."""

    def __init__(self, root: Path, crash_at: int = -1, damage: str = "half") -> None:
        self._root, self._crash_at, self._damage = root.resolve(), crash_at, damage
        self._points = 0
        self._unsynced: set[Path] = set()
        self._renamed: dict[Path, tuple[Path, Path]] = {}  # folder -> its last rename, not yet synced

    def install(self) -> None:
        """From now on this process writes to this disk."""
        builtins.open = io.open = self._opening(io.open)  # type: ignore[assignment]
        os.fsync = self._sync  # type: ignore[assignment]
        os.replace = os.rename = self._renaming(os.replace)  # type: ignore[assignment]

    def _opening(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            stream = real(file, mode, *rest, **named)
            if set(mode) & set("wax+") and not isinstance(file, int) and self._watched(path := _absolute(file)):
                stream.close = partial(self._close, stream, stream.close, path)
            return stream

        return opened

    def _close(self, stream: Any, close: Callable[[], None], path: Path) -> None:
        if not stream.closed:
            close()
            self._unsynced.add(path)
            self._point(f"write of {path.name}", lambda: self._lose(path))

    def _sync(self, file: Any) -> None:
        # Without the real fsync, which takes a tenth of a second: nobody cuts the power of this machine.
        path = Path(f"/proc/self/fd/{file if isinstance(file, int) else file.fileno()}").readlink()
        if self._watched(path):
            self._point(f"fsync of {path.name}", lambda: self._lose(path))
        self._unsynced.discard(path)
        self._renamed.pop(path, None)

    def _renaming(self, real: Callable[..., None]) -> Callable[..., None]:
        def renamed(source: Any, target: Any, **named: Any) -> None:
            real(source, target, **named)
            old, new = _absolute(source), _absolute(target)
            self._unsynced = {new / path.relative_to(old) if _below(path, old) else path for path in self._unsynced}
            if self._watched(new):
                self._renamed[new.parent] = (old, new)
                self._point(f"rename to {new.name}", lambda: self._lose_below(new))

        return renamed

    def _watched(self, path: Path) -> bool:
        # TensorBoard's events are nobody's input.
        return _below(path, self._root) and "events.out" not in path.name

    def _point(self, what: str, lose: Callable[[], None]) -> None:
        if self._points == self._crash_at:
            lose()
            print(f"crash at point {self._points}, {what}", flush=True)
            os._exit(CRASHED)
        self._points += 1

    def _lose(self, path: Path) -> None:
        """A file's content, or what changed in a folder."""
        if path.is_file():
            _spoil(path, self._damage)
        elif path in self._renamed:
            old, new = self._renamed[path]
            if self._damage == "nothing":
                shutil.move(new, old)
            elif self._damage == "half":
                shutil.rmtree(new) if new.is_dir() else new.unlink()
        elif path.is_dir():
            self._lose_entries(path)  # else it was removed while it was open, as a lock is

    def _lose_entries(self, folder: Path) -> None:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        for path in files[: {"nothing": len(files), "half": len(files) // 2}.get(self._damage, 0)]:
            path.unlink()
        if self._damage == "garbage":
            _fill(folder / ".garbage.tmp.1", 99)

    def _lose_below(self, path: Path) -> None:
        for file in self._unsynced:
            if _below(file, path):
                _spoil(file, self._damage)


def _spoil(path: Path, damage: str) -> None:
    size = path.stat().st_size
    os.truncate(path, size // 2 if damage == "half" else 0)
    if damage == "garbage":
        _fill(path, max(size, 1))


def _fill(path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)  # open() is the one that counts
    os.write(descriptor, os.urandom(size))
    os.close(descriptor)


def _absolute(path: Any) -> Path:
    return Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 - Path.resolve would follow links


def _below(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents
