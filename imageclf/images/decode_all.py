"""Decode all files of a manifest in a crash-isolated pool of processes."""

import errno
import hashlib
import os
import shutil
import signal
import stat
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from imageclf.images.decode import Unfit, damaged, decode
from imageclf.images.kinds import cached_by_dvc
from imageclf.images.manifest import File
from imageclf.images.remarks import SMALLEST
from imageclf.runtime.errors import DataError, MachineError
from imageclf.runtime.platform import (
    READ_FLAGS,
    SIGKILL,
    SIGPROF,
    how_it_ended,
    limit_computing,
    limit_memory,
    start_method,
)
from imageclf.runtime.progress import Progress

Answer = TypeVar("Answer")
Work = Callable[[range], list[Answer]]
MEMORY = 4 * 2**30  # bytes per process; a damaged file may claim any size


@dataclass
class _Worker:
    process: BaseProcess
    chunk: range


def share_out(
    work: Work, chunks: list[range], *, workers: int, lost: Callable[[int, int | None], Answer]
) -> Iterator[tuple[range, list[Answer]]]:
    """Yield each chunk with the answers of `work`, one per index, as they arrive.

    The pool is crash-isolated: the chunk of a process that died is repeated index by index. An index that kills its
    process alone gets the answer `lost(index, exit code)`. An exception of `work` is raised here.
    """
    waiting, crew = deque(chunks), dict[Connection, _Worker]()
    try:
        while waiting or crew:
            while waiting and len(crew) < workers:
                _start(work, crew, waiting.popleft())
            for pipe in [pipe for pipe in wait(list(crew)) if isinstance(pipe, Connection)]:
                chunk = crew[pipe].chunk
                try:
                    answer = pipe.recv()
                except (EOFError, ConnectionResetError):
                    process = crew.pop(pipe).process
                    process.join()
                    if len(chunk) == 1:
                        yield chunk, [lost(chunk.start, process.exitcode)]
                    else:
                        waiting.extendleft(range(index, index + 1) for index in reversed(chunk))
                    continue
                if isinstance(answer, Exception):
                    raise answer
                if waiting:
                    crew[pipe].chunk = waiting.popleft()
                    pipe.send(crew[pipe].chunk)
                else:
                    pipe.close()  # the process reads an end of file and exits
                    crew.pop(pipe).process.join()
                yield chunk, answer
    finally:
        for worker in crew.values():
            worker.process.terminate()
            worker.process.join()


def _start(work: Work, crew: dict[Connection, _Worker], chunk: range) -> None:
    context: Any = get_context(start_method())
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(work, theirs, [*crew, ours]), daemon=True)
    process.start()
    theirs.close()
    crew[ours] = _Worker(process, chunk)
    ours.send(chunk)


def _serve(work: Work, pipe: Connection, inherited: list[Connection]) -> None:
    """Run in a worker process: answer every chunk until the pipe closes."""
    for other in inherited:
        other.close()  # an inherited copy of the parent's end would prevent the end of file
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the stage's handler, which prints
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends the workers
    limit_memory(MEMORY)
    try:
        while True:
            chunk = pipe.recv()
            try:
                pipe.send(work(chunk))
            except Exception as error:
                pipe.send(error)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


SIDE = 64  # pixels: the size if prepare.size is auto, and of the images that are hashed
CHANNELS = 3  # also for grey pictures, so that adding a colour picture changes nothing
LARGEST_FILE = 256 * 2**20  # bytes; files are read completely
LONGEST = 20  # largest aspect ratio
CHUNK = 64  # files per task
PATIENCE = 60  # seconds of CPU time per file
COPIES = 2  # of every image: decoded, and packed


@dataclass(frozen=True)
class Outcome:
    """The result for one file: facts about the picture, or its fault."""

    digest: bytes = b""  # always at 64x64, so that prepare.size does not affect the splits
    width: int = 0
    height: int = 0
    mode: str = ""
    values: tuple[int, int] | None = None  # range of stored values, for 16-bit grey
    brightest: int = 0  # 0 to 255, at 64x64
    blank: bool = False  # one colour all over, at 64x64
    oddities: tuple[str, ...] = ()  # remarks for the report
    fault: str = ""  # kind of fault; empty: none
    found: str = ""  # description of the fault, and what to do


def decode_files(
    files: list[File], *, size: tuple[int, int], window: Sequence[int] | None = None, target: Path, workers: int
) -> list[Outcome]:
    """Decode every file to uint8 (H, W, 3), where `size` is (H, W); image i is at position i of the file `target`.

    `window` has the values of 16-bit grey pictures that become black and white.

    The number of workers does not change the result.

    Raises:
        DataError: a file has changed since download.
        MachineError: the disk is too small, or the system killed a worker.
    """
    _check_room(target.parent, len(files) * size[0] * size[1] * CHANNELS)
    target.write_bytes(b"")
    outcomes = [Outcome()] * len(files)
    chunks = [range(begin, min(begin + CHUNK, len(files))) for begin in range(0, len(files), CHUNK)]
    work = partial(_decode_some, files, size, window, target)
    with Progress("prepare", total=len(files), unit="img") as progress:
        for chunk, answers in share_out(work, chunks, workers=workers, lost=partial(_lost, files)):
            outcomes[chunk.start : chunk.stop] = answers
            progress.advance(len(chunk))
    return outcomes


def read_images(source: Path, shape: tuple[int, int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """A function that reads the images (n, H, W, C) at `indices` (n,) from a file of `decode_files`."""

    def take(indices: np.ndarray) -> np.ndarray:
        images = np.empty((len(indices), *shape), np.uint8)
        with source.open("rb", buffering=0) as file:
            for image, index in zip(images, indices.tolist(), strict=True):
                file.seek(index * image.nbytes)
                file.readinto(image.data)
        return images

    return take


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if COPIES * needed > free:
        raise MachineError(
            f"prepare: decoding needs {COPIES * needed / 1e9:,.1f} GB of disk space, and {free / 1e9:,.1f} GB are "
            "free; lower prepare.size, or free some space"
        )


def _decode_some(
    files: list[File], size: tuple[int, int], window: Sequence[int] | None, target: Path, chunk: range
) -> list[Outcome]:
    outcomes = []
    with target.open("r+b", buffering=0) as pixels:
        for index in chunk:
            limit_computing(PATIENCE)
            outcome, image = _decode_one(files[index], size, window)
            if image is not None:
                pixels.seek(index * image.nbytes)
                pixels.write(image.data)
            outcomes.append(outcome)
    limit_computing(0)
    return outcomes


def _decode_one(file: File, size: tuple[int, int], window: Sequence[int] | None) -> tuple[Outcome, np.ndarray | None]:
    try:
        content = _content(file)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            read = partial(decode, content, channels=CHANNELS, window=window)
            picture = read(size=size)
            small = picture if size == (SIDE, SIDE) else read(size=(SIDE, SIDE))
        oddities = _oddities([str(warning.message) for warning in said], odd_exif=picture.odd_exif)
        _check_shape(picture.width, picture.height)
    except Unfit as fault:
        return Outcome(fault=fault.kind, found=f"{fault.found}; {fault.remedy}"), None
    if picture.several:
        oddities.append("several frames")
    outcome = Outcome(
        hashlib.sha256(np.ascontiguousarray(small.pixels).data).digest(),
        picture.width,
        picture.height,
        picture.mode,
        picture.values,
        int(small.pixels.max()),
        bool((small.pixels == small.pixels[0, 0]).all()),
        tuple(oddities),
    )
    return outcome, np.ascontiguousarray(picture.pixels)


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


def _lost(files: list[File], index: int, code: int | None) -> Outcome:
    """The outcome for a file that killed its worker; an error if the system did, possibly out of memory."""
    if code == -SIGKILL:
        raise MachineError(
            f"prepare: the process that decoded {files[index].path} {how_it_ended(code)}; end other programs, and run "
            "dvc repro again"
        )
    if code == -SIGPROF:
        return Outcome(fault="damaged", found=f"it took more than {PATIENCE} seconds to decode; get a whole copy")
    return Outcome(fault="damaged", found=f"its decoder {how_it_ended(code)}; get a whole copy")
