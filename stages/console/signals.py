"""Ctrl-C and SIGTERM as a wish that long work grants between two steps."""

import signal
from types import FrameType


class StopWish:
    """Inside the block a first Ctrl-C or SIGTERM only sets `number`; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.number = 0

    def __enter__(self) -> "StopWish":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number
