"""A crash-isolated pool of processes: work that kills its process takes nothing else with it."""

import signal
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from imageclf.runtime.platform import keep_freed_memory, limit_memory, release_signals, signals_held, start_method

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
