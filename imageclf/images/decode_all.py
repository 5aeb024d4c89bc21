"""Decode all files of a manifest in a crash-isolated pool of processes."""

import errno
import hashlib
import os
import shutil
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from imageclf.images.crew import share_out
from imageclf.images.decode import Picture, Shrink, Unfit, damaged, decode
from imageclf.images.kinds import cached_by_dvc
from imageclf.images.manifest import File
from imageclf.images.outcomes import Journal, Outcome, Slots
from imageclf.images.remarks import SMALLEST
from imageclf.runtime.errors import DataError, MachineError
from imageclf.runtime.platform import READ_FLAGS, SIGKILL, SIGPROF, begin_writing, how_it_ended, limit_computing
from imageclf.runtime.progress import Progress

SIDE = 64  # pixels: the size if prepare.size is auto
CHANNELS = 3  # also for grey pictures, so that adding a colour picture changes nothing
LARGEST_FILE = 256 * 2**20  # bytes; files are read completely
LONGEST = 20  # largest aspect ratio
CHUNK = 64  # files per task
PATIENCE = 60  # seconds of CPU time per file
MANY = 4096  # files from which compiled loops are worth the seconds that they take to load, or to compile once


@dataclass(frozen=True)
class _Work:
    files: Sequence[File]
    slot: Slots
    decode: Callable[[bytes], Picture]


def decode_files(
    files: Sequence[File],
    slot: Slots,
    *,
    size: tuple[int, int],
    fit: str = "crop",
    window: Sequence[int] | None = None,
    workers: int,
    journal: Journal | None = None,
    sketch: int | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Decode every file to uint8 (H, W, 3), where `size` is (H, W), and write it to its slot, if it has one.

    Yields the index and the outcome of each, in any order. Those that `journal` has are not decoded again.
    For `fit`, `window` and `sketch` see `decode`. The number of workers does not change the result.

    Raises:
        DataError: a file has changed since download.
        MachineError: the system killed a worker.
    """
    chunks = {begin: range(begin, min(begin + CHUNK, len(files))) for begin in range(0, len(files), CHUNK)}
    shrink = _compiled() if len(files) >= MANY else None
    read = partial(decode, size=size, channels=CHANNELS, fit=fit, window=window, shrink=shrink, sketch=sketch)
    work = partial(_decode_some, _Work(files, slot, read))
    with Progress("prepare", total=len(files), unit="img") as progress:
        for begin, kept in journal.read(slot) if journal else ():
            yield from zip(chunks.pop(begin), kept, strict=True)
        there = len(files) - sum(map(len, chunks.values()))
        if there:
            progress.line(f"prepare: an interrupted run has decoded {there:,} of {len(files):,} files; they are kept")
            progress.skip(there)
        for chunk, answers in share_out(work, [*chunks.values()], workers=workers, lost=partial(_lost, files)):
            if journal:
                journal.add(chunk, answers)
            yield from zip(chunk, answers, strict=True)
            progress.advance(len(chunk))


def _compiled() -> Shrink:
    from imageclf.images.shrink import ready, shrink  # here, since importing numba takes half a second

    ready()
    return shrink


def check_room(folder: Path, needed: int) -> None:
    """Refuse images of `needed` bytes that the disk has no room for, with those of an interrupted run in `folder`.

    Raises:
        MachineError: it has not.
    """
    there = sum(getattr(file.stat(), "st_blocks", 0) * 512 for file in folder.iterdir())
    free = shutil.disk_usage(folder).free + there
    if needed > free:
        raise MachineError(
            f"prepare: the images need {needed / 1e9:,.1f} GB of disk space, and {free / 1e9:,.1f} GB are free; lower "
            "prepare.size, or free some space"
        )


def _decode_some(work: _Work, chunk: range) -> list[Outcome]:
    outcomes = []
    with ExitStack() as stack:
        opened: dict[Path, BinaryIO] = {}
        for index in chunk:
            limit_computing(PATIENCE)
            outcome, image = _decode_one(work.files[index], work.decode)
            slot = work.slot(index)
            if image is not None and slot:
                path, place = slot
                if path not in opened:
                    opened[path] = stack.enter_context(path.open("r+b", buffering=0))
                opened[path].seek(place)
                opened[path].write(image.data)
            outcomes.append(outcome)
        for file in opened.values():
            begin_writing(file.fileno())
    limit_computing(0)
    return outcomes


def _decode_one(file: File, decode: Callable[[bytes], Picture]) -> tuple[Outcome, np.ndarray | None]:
    try:
        content = _content(file)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            picture = decode(content)
        oddities = _oddities([str(warning.message) for warning in said], odd_exif=picture.odd_exif)
        _check_shape(picture.width, picture.height)
    except Unfit as fault:
        return Outcome(fault=fault.kind, found=f"{fault.found}; {fault.remedy}"), None
    if picture.several:
        oddities.append("several frames")
    pixels, shown = np.ascontiguousarray(picture.pixels), picture.shown
    first = shown[0, 0]
    outcome = Outcome(
        hashlib.sha256(pixels.data).digest(),
        picture.width,
        picture.height,
        picture.mode,
        picture.values,
        int(shown.max()),
        bool((shown[0] == first).all() and (shown == first).all()),
        tuple(oddities),
        sketch=b"" if picture.sketch is None else picture.sketch.tobytes(),
    )
    return outcome, pixels


def _content(file: File) -> bytes:
    """Read a file once and check its hash, so that exactly the hashed bytes are decoded."""
    if file.size > LARGEST_FILE:
        raise Unfit("too large", f"{file.size:,} bytes are more than {LARGEST_FILE:,}", "make it smaller")
    changed = DataError(f"{file.path} was changed or removed since download; run dvc repro")
    try:
        descriptor = os.open(cached_by_dvc(file.place) or file.place, READ_FLAGS)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        raise changed from None
    with os.fdopen(descriptor, "rb", buffering=0) as opened:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
            raise changed
        content = opened.read()
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise changed
    return content


def _oddities(said: list[str], *, odd_exif: bool) -> list[str]:
    """Remarks from Pillow's warnings about metadata; any other warning counts as damage."""
    beside = ("EXIF", "Metadata", "Tag", "MPO")  # MPO: a phone's second picture in a JPEG
    for words in said:
        if not any(word in words for word in beside):
            raise damaged(words)
    exif = odd_exif or any("MPO" not in words for words in said)
    return ["odd EXIF"] if exif else []


def _check_shape(width: int, height: int) -> None:
    if min(width, height) < SMALLEST:
        raise Unfit("tiny", f"{width}x{height}, a side under {SMALLEST} pixels", "take it out")
    if max(width, height) > LONGEST * min(width, height):
        raise Unfit("long and thin", f"{width}x{height}, one side over {LONGEST} times the other", "cut it")


def _lost(files: Sequence[File], index: int, code: int | None) -> Outcome:
    """The outcome for a file that killed its worker; an error if the system did, possibly out of memory."""
    if code == -SIGKILL:
        raise MachineError(
            f"prepare: the process that decoded {files[index].path} {how_it_ended(code)}; end other programs, and run "
            "dvc repro again"
        )
    if code == -SIGPROF:
        return Outcome(fault="damaged", found=f"it took more than {PATIENCE} seconds to decode; get a whole copy")
    return Outcome(fault="damaged", found=f"its decoder {how_it_ended(code)}; get a whole copy")
