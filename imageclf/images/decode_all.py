"""All files of a manifest decoded in processes of their own, which a bad file may crash."""

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
MEMORY = 4 * 2**30  # bytes for a process; a damaged file may ask for any number


@dataclass
class _Worker:
    process: BaseProcess
    chunk: range


def share_out(
    work: Work, chunks: list[range], *, workers: int, lost: Callable[[int, int | None], Answer]
) -> Iterator[tuple[range, list[Answer]]]:
    """Each chunk with the answers of `work`, one for each index, in the order in which they come.

    A process that dies takes no other with it: its chunk is done again index by index, and what kills a process by
    itself has `lost`, of its index and the exit code, for its answer. An exception of `work` is raised here.
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
                    pipe.close()  # the process reads an end of file, and ends
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
    """A process's life: answer every chunk that comes, until the pipe closes."""
    for other in inherited:
        other.close()  # a copy of the parent's end here would keep the end of file from coming
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the stage's, which speaks
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends the others
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


SIDE = 64  # pixels: where prepare.size is auto, and of what tells copies and decides the split
CHANNELS = 3  # grey pictures too, so that a colour picture added later changes nothing
LARGEST_FILE = 256 * 2**20  # bytes; a file is read whole
LONGEST = 20  # times the shorter side
CHUNK = 64  # files that a process takes at a time
PATIENCE = 60  # seconds of a processor, for one file
COPIES = 2  # of every image: as decoded, and in its split


@dataclass(frozen=True)
class Outcome:
    """What became of a file: the digest of its pixels, or the fault that it has."""

    digest: bytes = b""  # at 64x64 whatever prepare.size is, so that another size moves no image to another split
    width: int = 0
    height: int = 0
    mode: str = ""
    values: tuple[int, int] | None = None  # the range as stored, of 16-bit grey
    brightest: int = 0  # of 0 to 255, at 64x64
    blank: bool = False  # one colour all over, at 64x64
    oddities: tuple[str, ...] = ()  # worth a line in the report, no reason to leave it out
    fault: str = ""  # its kind; empty: none
    found: str = ""  # and what to do


def decode_files(
    files: list[File], *, size: tuple[int, int], window: Sequence[int] | None = None, target: Path, workers: int
) -> list[Outcome]:
    """Decode every file to uint8 (H, W, 3), where `size` is (H, W); image i stands at place i of the file `target`.

    `window` has the values of 16-bit grey pictures that become black and white.

    Neither the number of workers nor their order of work can change a byte.

    Raises:
        DataError: a file is no longer the one that download saw.
        MachineError: the disk has no room for them all, or the system killed a decoder.
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
    """What gives the images (n, H, W, C) at `indices` (n,) of a file that `decode_files` wrote."""

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
            f"prepare: the decoded images take {COPIES * needed / 1e9:,.1f} GB while it works, and the disk has "
            f"{free / 1e9:,.1f} GB free; lower prepare.size, or free some"
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
    """The bytes that download saw; read once, so that what is hashed is what is decoded."""
    if file.size > LARGEST_FILE:
        raise Unfit("too large", f"{file.size:,} bytes are more than {LARGEST_FILE:,}", "make it smaller")
    changed = DataError(f"{file.path} changed or went since download; run dvc repro")
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
    """Which of Pillow's warnings are about what stands beside the pixels; any other counts as damage."""
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
    """What became of a file whose decoder ended; nothing is said against it where the system ended that."""
    if code == -SIGKILL:
        raise MachineError(
            f"prepare: the process that decoded {files[index].path} {how_it_ended(code)}; end other programs, and run "
            "dvc repro again"
        )
    if code == -SIGPROF:
        return Outcome(fault="damaged", found=f"it took more than {PATIENCE} seconds to decode; get a whole copy")
    return Outcome(fault="damaged", found=f"its decoder {how_it_ended(code)}; get a whole copy")
