"""Work shared out to processes that may die of it."""

import resource
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

Answer = TypeVar("Answer")
Work = Callable[[range], list[Answer]]
MEMORY = 4 * 2**30  # bytes for a process; a damaged file may ask for any number


@dataclass
class _Worker:
    process: BaseProcess
    chunk: range


def share_out(
    work: Work, chunks: list[range], *, workers: int, lost: Callable[[int], Answer]
) -> Iterator[tuple[range, list[Answer]]]:
    """Each chunk with the answers of `work`, one for each index, in the order in which they come.

    A process that dies takes no other with it: its chunk is done again index by index, and what kills a process by
    itself has `lost` for its answer. An exception of `work` is raised here.
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
                    crew.pop(pipe).process.join()
                    if len(chunk) == 1:
                        yield chunk, [lost(chunk.start)]
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
    context: Any = get_context("fork" if sys.platform == "linux" else "spawn")
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
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most), most))
    try:
        while True:
            chunk = pipe.recv()
            try:
                pipe.send(work(chunk))
            except Exception as error:
                pipe.send(error)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
