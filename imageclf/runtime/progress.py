"""Progress of long work: a bar with rate and time left on a terminal, elsewhere a line every 15 seconds.

The bar is tqdm's. Without a terminal tqdm writes carriage returns into the log, hence the plain lines.
"""

import sys
import time

from tqdm import tqdm

from imageclf.runtime.platform import is_first_rank

LINE_EVERY = 15.0  # seconds between two lines


class Progress:
    """A count towards a total, shown as it grows.

    >>> with Progress("train", total=100, unit="img") as progress:
    ...     progress.advance(10, note="loss 1.9")
    """

    def __init__(self, name: str, *, total: int | None, unit: str, scale: bool = False) -> None:
        """`scale` shows counts with k/M/G, for bytes."""
        self._name, self._total, self._unit = name, total, unit
        self._scale = scale
        self._done = self._skipped = 0
        self._begun = self._printed = time.monotonic()
        # leave=False: only the stage's closing line stays on the screen.
        hidden = not (sys.stderr.isatty() and is_first_rank())
        self._bar = tqdm(total=total, desc=name, unit=unit, unit_scale=scale, leave=False, disable=hidden)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def skip(self, amount: int) -> None:
        """Count `amount` as done before; it does not affect the rate."""
        self._done += amount
        self._skipped = amount
        self._bar.initial = amount
        self._bar.update(amount)

    def advance(self, amount: int, *, note: str = "") -> None:
        """Count `amount` more; `note` is shown after the rate."""
        self._done += amount
        if not self._bar.disable:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(amount)
        elif time.monotonic() - self._printed >= LINE_EVERY:
            self._printed = time.monotonic()
            print(self._line(note), flush=True)

    def line(self, text: str) -> None:
        """Print a line of its own without breaking the bar."""
        self._bar.write(text) if not self._bar.disable else print(text, flush=True)

    def _line(self, note: str) -> str:
        rate = (self._done - self._skipped) / max(time.monotonic() - self._begun, 1e-9)
        shown = tqdm.format_sizeof if self._scale else lambda number: f"{number:,.0f}"
        words = f"{self._name}: {shown(self._done)} {self._unit}, {shown(rate)} {self._unit}/s"
        if self._total:
            percent = 100 * self._done / self._total
            left = (self._total - self._done) / max(rate, 1e-9)
            words += f", {percent:.0f} %, {tqdm.format_interval(left)} left"
        return f"{words}, {note}" if note else words
