"""How long a slow host is borne with."""

import time
from dataclasses import dataclass, replace

from stages.sources.fault import Fault, TooSlow


@dataclass(frozen=True)
class Patience:
    """Limits of one transfer: seconds, and bytes a second."""

    connect: float = 10.0
    stall: float = 20.0  # without a byte
    window: float = 20.0  # over which the rate is averaged
    pause: float = 1.0  # before a broken transfer goes on, doubled each time
    slowest: float = 300e3  # a slower host gives way to another; 0: there is no other

    def endless(self) -> "Patience":
        """The same where no other source is left: slow is better than nothing."""
        return replace(self, slowest=0)


class Pace:
    """Bytes as they come, held against the patience."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._begun = self._latest = time.monotonic()
        self._bytes = 0

    def count(self, amount: int) -> None:
        """Count `amount` bytes more, 0 where there was only time.

        Raises:
            TooSlow: the last window's rate is below the slowest.
            Fault: there was no byte for too long.
        """
        now = time.monotonic()
        if amount:
            self._latest = now
        elif now - self._latest >= self._patience.stall:
            raise Fault(f"no byte for {self._patience.stall:g} s")
        self._bytes += amount
        if now - self._begun >= self._patience.window:
            rate = self._bytes / (now - self._begun)
            if rate < self._patience.slowest:
                raise TooSlow(f"only {rate / 1e3:,.0f} kB/s")
            self._begun, self._bytes = now, 0
