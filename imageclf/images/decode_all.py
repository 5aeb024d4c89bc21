"""Decode all files of a manifest in a crash-isolated pool of processes."""

import errno
import hashlib
import os
import shutil
import signal
import stat
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from imageclf.images.decode import Picture, Shrink, Unfit, damaged, decode
from imageclf.images.kinds import cached_by_dvc
from imageclf.images.manifest import File
from imageclf.images.remarks import SMALLEST
from imageclf.runtime.errors import DataError, MachineError
from imageclf.runtime.platform import (
    READ_FLAGS,
    SIGKILL,
    SIGPROF,
    begin_writing,
    how_it_ended,
    keep_freed_memory,
    limit_computing,
    limit_memory,
    release_signals,
    signals_held,
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
    with signals_held():  # a signal between the fork and the next lines would leave a process that nobody ends
        process.start()
        crew[ours] = _Worker(process, chunk)
    theirs.close()
    ours.send(chunk)


def _serve(work: Work, pipe: Connection, inherited: list[Connection]) -> None:
    """Run in a worker process: answer every chunk until the pipe closes."""
    for other in inherited:
        other.close()  # an inherited copy of the parent's end would prevent the end of file
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the stage's handler, which prints
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends the workers
    release_signals()
    limit_memory(MEMORY)
    keep_freed_memory()
    try:
        while True:
            chunk = pipe.recv()
            try:
                pipe.send(work(chunk))
            except Exception as error:
                pipe.send(error)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


SIDE = 64  # pixels: the size if prepare.size is auto
CHANNELS = 3  # also for grey pictures, so that adding a colour picture changes nothing
LARGEST_FILE = 256 * 2**20  # bytes; files are read completely
LONGEST = 20  # largest aspect ratio
CHUNK = 64  # files per task
PATIENCE = 60  # seconds of CPU time per file
MANY = 4096  # files from which compiled loops are worth the seconds that they take to load, or to compile once


@dataclass(frozen=True)
class Outcome:
    """The result for one file: facts about the picture, or its fault."""

    digest: bytes = b""  # of the prepared pixels: equal for copies
    width: int = 0
    height: int = 0
    mode: str = ""
    values: tuple[int, int] | None = None  # range of stored values, for 16-bit grey
    brightest: int = 0  # 0 to 255
    blank: bool = False  # one colour all over
    oddities: tuple[str, ...] = ()  # remarks for the report
    fault: str = ""  # kind of fault; empty: none
    found: str = ""  # description of the fault, and what to do


FACTS = np.dtype(  # of a picture; one without 16-bit values has -1 for them
    [
        ("size", np.int32, 2),  # width, height
        ("values", np.int32, 2),
        ("mode", np.int8),
        ("brightest", np.uint8),
        ("blank", np.bool_),
    ]
)


class Outcomes:
    """The outcomes of N files: facts FACTS (N,), with modes as places in `modes`; faults and oddities by index."""

    def __init__(self, number: int, *, modes: Sequence[str] = ()) -> None:
        self._digests = np.zeros(number, "S16")  # half a sha256 tells pictures apart as well as the whole
        self.facts = np.zeros(number, FACTS)
        self.modes = [*modes]
        self.faulty: dict[int, Outcome] = {}
        self.odd: dict[int, tuple[str, ...]] = {}

    def put(self, index: int, outcome: Outcome) -> None:
        """Keep the outcome of a file."""
        if outcome.fault:
            self.faulty[index] = outcome
            return
        if outcome.oddities:
            self.odd[index] = outcome.oddities
        if outcome.mode not in self.modes:
            self.modes.append(outcome.mode)
        self._digests[index] = outcome.digest
        self.facts[index] = (
            (outcome.width, outcome.height),
            outcome.values or (-1, -1),
            self.modes.index(outcome.mode),
            outcome.brightest,
            outcome.blank,
        )

    def modes_of(self, used: np.ndarray) -> Counter[str]:
        """The number of files by mode, of those at the indices `used` (n,)."""
        counts = np.bincount(self.facts["mode"][used], minlength=len(self.modes)).tolist()
        return +Counter(dict(zip(self.modes, counts, strict=True)))

    def number_pictures(self) -> np.ndarray:
        """A number for each file, int32 (N,), that is the same for the same picture; -1 for a faulty one.

        It can be asked for once: to spare memory, the hashes of the pictures are then dropped.
        """
        numbers = np.unique(self._digests, return_inverse=True)[1].astype(np.int32)
        numbers[list(self.faulty)] = -1
        del self._digests
        return numbers


Slot = tuple[Path, int]  # the file that takes an image's pixels, and where in it
Slots = Callable[[int], Slot | None]  # of a file by its index; None: its pixels are not kept


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
) -> Iterator[tuple[int, Outcome]]:
    """Decode every file to uint8 (H, W, 3), where `size` is (H, W), and write it to its slot, if it has one.

    Yields the index and the outcome of each, in any order.
    For `fit` and `window` see `decode`. The number of workers does not change the result.

    Raises:
        DataError: a file has changed since download.
        MachineError: the system killed a worker.
    """
    chunks = [range(begin, min(begin + CHUNK, len(files))) for begin in range(0, len(files), CHUNK)]
    shrink = _compiled() if len(files) >= MANY else None
    read = partial(decode, size=size, channels=CHANNELS, fit=fit, window=window, shrink=shrink)
    work = partial(_decode_some, _Work(files, slot, read))
    with Progress("prepare", total=len(files), unit="img") as progress:
        for chunk, answers in share_out(work, chunks, workers=workers, lost=partial(_lost, files)):
            yield from zip(chunk, answers, strict=True)
            progress.advance(len(chunk))


def _compiled() -> Shrink:
    from imageclf.images.shrink import ready, shrink  # here, since importing numba takes half a second

    ready()
    return shrink


def check_room(folder: Path, needed: int) -> None:
    """Refuse images of `needed` bytes that the disk has no room for.

    Raises:
        MachineError: it has not.
    """
    free = shutil.disk_usage(folder).free
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
