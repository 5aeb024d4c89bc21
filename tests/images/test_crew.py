"""Processes that die of their work take nothing else with them, and leave nothing behind."""

import multiprocessing
import os
import signal

import pytest

from imageclf.images.crew import share_out
from imageclf.runtime.errors import DataError

CHUNKS = [range(begin, begin + 5) for begin in range(0, 40, 5)]


def squares(chunk: range) -> list[int]:
    return [index * index for index in chunk]


def crash_at_seven(chunk: range) -> list[int]:
    if 7 in chunk:
        os.kill(os.getpid(), signal.SIGKILL)
    return squares(chunk)


def hang_at_seven(chunk: range) -> list[int]:
    signal.setitimer(signal.ITIMER_PROF, 0.3)
    while 7 in chunk:
        pass
    signal.setitimer(signal.ITIMER_PROF, 0)
    return squares(chunk)


def refuse_seven(chunk: range) -> list[int]:
    if 7 in chunk:
        raise DataError("seven changed")
    return squares(chunk)


def eat_memory(chunk: range) -> list[int]:
    try:
        return [len(bytearray(1 << 36))]
    except MemoryError:
        return [-1]


def answers(work, workers: int) -> dict[int, int]:  # type: ignore[no-untyped-def]
    found: dict[int, int] = {}
    for chunk, some in share_out(work, CHUNKS, workers=workers, lost=lambda index, code: code or 0):
        found |= dict(zip(chunk, some, strict=True))
    return found


@pytest.mark.parametrize("workers", [1, 2, 20])
def test_every_index_is_answered_once(workers: int) -> None:
    assert answers(squares, workers) == {index: index * index for index in range(40)}


@pytest.mark.parametrize(("work", "end"), [(crash_at_seven, signal.SIGKILL), (hang_at_seven, signal.SIGPROF)])
@pytest.mark.parametrize("workers", [1, 2])
def test_what_kills_its_process_is_lost_alone_and_its_end_known(work, end: int, workers: int) -> None:  # type: ignore[no-untyped-def]
    assert answers(work, workers) == {index: index * index for index in range(40)} | {7: -end}


def test_an_exception_is_raised_and_ends_the_others() -> None:
    with pytest.raises(DataError, match="seven changed"):
        answers(refuse_seven, 2)
    assert not multiprocessing.active_children()


def test_leaving_early_ends_every_process() -> None:
    for _ in share_out(squares, CHUNKS, workers=2, lost=lambda index, code: code or 0):
        break
    assert not multiprocessing.active_children()


def test_a_process_cannot_take_all_memory() -> None:
    assert list(share_out(eat_memory, [range(1)], workers=1, lost=lambda index, code: 0)) == [(range(1), [-1])]


def test_no_work_needs_no_process() -> None:
    assert list(share_out(squares, [], workers=2, lost=lambda index, code: code or 0)) == []
