"""Features of images, computed once: files that resume after a kill, check themselves, and are shared between runs.

A file is an .npy array float32 (N, 1, D), and behind it the sha256 of each chunk of images; zeros where a chunk has not
been computed. Its name is a fingerprint of all that the features depend on.
"""

import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

import imageclf
from imageclf.evaluation.inference import chunk_size, chunks_answered
from imageclf.models.classifier import Classifier
from imageclf.models.device import Compute
from imageclf.runtime.errors import DataError, MachineError
from imageclf.runtime.files import sha256_of_file
from imageclf.runtime.platform import locked, sync
from imageclf.runtime.progress import Progress

FEATURES = Path(".features")  # in the main checkout, and kept for the next run
KEPT = 4 * 10**9  # bytes that features of earlier runs may take, besides those of this one
PATIENCE = 1.0  # seconds before this line
WAITING = "train: another run is computing features; this one waits for it"
SHA256 = 32  # bytes
NO_SUM = bytes(SHA256)
CODE = (
    "augment",
    "evaluation/inference.py",
    "models",
    "randomness.py",
    "training/blocks.py",
    "training/features.py",
    "training/frozen.py",
)
PACKAGES = ("numba", "numpy", "timm", "torchvision")


@dataclass(frozen=True)
class View:
    """Images whose features are wanted: `take` returns uint8 (n, H, W, C) at `indices` (n,), as the network sees them.

    `facts` are what tells them from other images.
    """

    count: int
    take: Callable[[np.ndarray], np.ndarray]
    facts: dict[str, Any]


def features_of(
    classifier: Classifier,
    views: Sequence[View],
    folder: Path,
    *,
    sources: Sequence[Path],
    size: tuple[int, int],
    width: int,
    facts: dict[str, Any],
    compute: Compute,
) -> list[Path]:
    """The .npy file (N, 1, `width`) of each view: what the classifier, which ends before its last layer, gives.

    Chunks that an earlier run left whole in `folder` are taken from there. The network sees images of `size` (H, W).
    `sources` are the files of the images; `facts` are what all views depend on.

    Raises:
        MachineError: the disk or the device has too little room.
        DataError: one of the sources changed meanwhile.
    """
    chunk = chunk_size(size, compute.device)
    files = [
        FeatureFile(folder / f"{_fingerprint(facts | view.facts)}.npy", view.count, width, chunk) for view in views
    ]
    folder.mkdir(parents=True, exist_ok=True)
    # Two that compute at the same time would only share the cores.
    with locked(folder / "lock", patience=PATIENCE, waiting=WAITING):
        _prune(folder, files)
        missing = [file.missing() for file in files]
        rows = sum(file.rows(begin) for file, begins in zip(files, missing, strict=True) for begin in begins)
        _tell(views, rows, width, folder)
        _check_room(folder, 4 * width * rows)
        with Progress("features", total=rows, unit="img") as progress:
            for view, file, begins in zip(views, files, missing, strict=True):
                for begin, features in _computed(classifier, view, begins, chunk, sources, compute):
                    file.write(begin, features)
                    progress.advance(len(features))
                file.finish()
    return [file.path for file in files]


class FeatureFile:
    """One file of features."""

    def __init__(self, path: Path, count: int, width: int, chunk: int) -> None:
        """`count` rows of `width` numbers; each `chunk` rows have a checksum."""
        self.path, self._count, self._width, self._chunk = path, count, width, chunk

    @cached_property
    def _header(self) -> bytes:
        buffer = BytesIO()
        shape = (self._count, 1, self._width)
        np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
        return buffer.getvalue()

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self._place_of_sum(0) + SHA256 * -(-self._count // self._chunk)

    def rows(self, begin: int) -> int:
        """Rows of the chunk that begins at a row."""
        return min(self._chunk, self._count - begin)

    def missing(self) -> list[int]:
        """The first row of each chunk that is to be computed; a line names damage."""
        begins = range(0, self._count, self._chunk)
        if not self._fits():
            with self.path.open("wb") as file:
                file.write(self._header)
                file.truncate(self.size)
            return list(begins)
        missing, damaged = [], 0
        with self.path.open("rb") as file:
            file.seek(self._place_of_sum(0))
            sums = file.read()
            for number, begin in enumerate(begins):
                file.seek(self._place(begin))
                stored = sums[SHA256 * number : SHA256 * (number + 1)]
                content = file.read(4 * self._width * self.rows(begin))
                if stored == NO_SUM or hashlib.sha256(content).digest() != stored:
                    missing.append(begin)
                    damaged += 0 if stored == NO_SUM else self.rows(begin)
        if damaged:
            print(
                f"train: {damaged:,} of {self._count:,} features in {self.path} are damaged; they are computed again",
                flush=True,
            )
        return missing

    def write(self, begin: int, features: np.ndarray) -> None:
        """Store the features (n, D) of a chunk, and their checksum.

        Raises:
            MachineError: the disk is full.
        """
        content = np.ascontiguousarray(features, "<f4").tobytes()
        try:
            with self.path.open("r+b", buffering=0) as file:
                for place, part in (
                    (self._place(begin), content),
                    (self._place_of_sum(begin), hashlib.sha256(content).digest()),
                ):
                    file.seek(place)
                    if file.write(part) != len(part):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise MachineError(_no_room(self.path.parent, "what is computed so far is kept")) from None

    def finish(self) -> None:
        """Put it on disk, and note that it was used now."""
        sync(self.path)
        os.utime(self.path)

    def _fits(self) -> bool:
        """Whether it is a file of this shape."""
        if not self.path.exists():
            return False
        with self.path.open("rb") as file:
            if file.read(len(self._header)) == self._header and self.path.stat().st_size == self.size:
                return True
        print(f"train: {self.path} is damaged; all its features are computed again", flush=True)
        return False

    def _place(self, begin: int) -> int:
        return len(self._header) + 4 * self._width * begin

    def _place_of_sum(self, begin: int) -> int:
        return self._place(self._count) + SHA256 * (begin // self._chunk)


def _computed(
    classifier: Classifier, view: View, begins: Sequence[int], chunk: int, sources: Sequence[Path], compute: Compute
) -> Iterator[tuple[int, np.ndarray]]:
    """Each chunk's first row and features (n, D), in order."""
    before = {source: _state(source) for source in sources}

    def load(begin: int) -> np.ndarray:
        return view.take(np.arange(begin, min(begin + chunk, view.count)))

    chunks = chunks_answered(
        classifier, load, begins, device=compute.device, threads=compute.workers, autocast=compute.autocast
    )
    for begin, features in zip(begins, chunks, strict=True):
        for source, state in before.items():
            if _state(source) != state:
                raise DataError(
                    f"train: {source} changed while its features were computed; those of before are kept; "
                    "run dvc repro again"
                )
        yield begin, features.numpy()


def _state(source: Path) -> tuple[int, int, int] | None:
    try:
        status = source.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def _fingerprint(facts: dict[str, Any]) -> str:
    """Hex sha256 of `facts`, of the code that computes features, and of the versions of the packages with networks."""
    library = Path(imageclf.__file__).parent
    paths = [
        file for name in CODE for file in ([library / name] if name[-3:] == ".py" else (library / name).rglob("*.py"))
    ]
    code = {path.relative_to(library).as_posix(): sha256_of_file(path) for path in paths}
    versions = {name: sys.modules[name].__version__ for name in PACKAGES if name in sys.modules}
    every = {"facts": facts, "code": code, "versions": versions}
    return hashlib.sha256(json.dumps(every, sort_keys=True).encode()).hexdigest()


def _prune(folder: Path, files: Sequence[FeatureFile]) -> None:
    """Delete features of earlier runs, those first that were not used for longest, until they take at most KEPT."""
    ours = {file.path for file in files}
    earlier = sorted(set(folder.glob("*.npy")) - ours, key=lambda path: path.stat().st_mtime_ns, reverse=True)
    kept = deleted = 0
    for path in earlier:
        kept += path.stat().st_size
        if kept > KEPT:
            path.unlink()
            deleted += 1
    if deleted:
        print(f"train: {deleted} files of features of earlier runs are deleted from {folder}", flush=True)


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise MachineError(_no_room(folder, f"they take {needed / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free"))


def _no_room(folder: Path, words: str) -> str:
    return (
        f"train: there is no room for features in {folder}: {words}; make room (old files there may be deleted), lower "
        "train.views, or set it to 0, which is slower and stores none"
    )


def _tell(views: Sequence[View], rows: int, width: int, folder: Path) -> None:
    total = sum(view.count for view in views)
    words = f"features of {total:,} images and views, {width:,} numbers each, {4e-6 * total * width:,.1f} MB"
    if rows == 0:
        print(f"train: {words}, are taken from {folder}", flush=True)
    else:
        there = f"; {total - rows:,} are there already" if rows < total else ""
        print(f"train: {words}, are computed once and kept in {folder}{there}", flush=True)
