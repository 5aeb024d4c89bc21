"""The table at the end: a line for each claim, with how often it was tried and how often it held."""

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from imageclf.runtime.progress import Progress


class Tally:
    """One claim on trial: tries that held, faults in words, and what else was seen on the way.

    >>> with Tally("crashes", "every write, fsync and rename", wanted=None, evidence=folder) as tally:
    ...     tally.count(None)
    """

    def __init__(self, row: str, done: str, *, wanted: int | None, evidence: Path) -> None:
        """`wanted` is how many tries the claim speaks of, where that is known; `evidence` is where faults are kept."""
        self.row, self.done, self.wanted = row, done, wanted
        self.held = self.tried = 0
        self.faults: list[str] = []
        self.seen: Counter[str] = Counter()
        self.seconds = 0.0
        self._evidence = evidence
        self._begun = time.monotonic()
        self._progress = Progress(row, total=wanted, unit="try")

    def __enter__(self) -> "Tally":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        self._progress.__exit__()
        self.seconds = time.monotonic() - self._begun
        if not isinstance(error, Exception):
            return False
        self.faults.append(f"the proof itself stopped: {type(error).__name__}: {str(error)[-2000:]}")
        return True  # the other claims are tried all the same

    def count(self, fault: str | None, *, folder: Path | None = None, times: int = 1) -> None:
        """Count `times` tries, which held where `fault` is None; else the first time keep a copy of `folder`."""
        self.tried += times
        if fault is None:
            self.held += times
        else:
            self.faults.append(f"{fault}{self._keep(folder) if folder and not self.faults else ''}")
        self._progress.advance(times)

    @property
    def whole(self) -> bool:
        """Whether the claim was tried as often as it says, and held each time."""
        return not self.faults and self.held == self.tried > 0 and self.tried >= (self.wanted or 0)

    @property
    def result(self) -> str:
        """How often it held of how often it should."""
        return f"{self.held} of {max(self.tried, self.wanted or 0)}"

    def _keep(self, folder: Path) -> str:
        kept = self._evidence / self.row
        shutil.copytree(folder, kept, symlinks=True)
        return f" (kept in {kept})"


def draw(tallies: Sequence[Tally]) -> str:
    """The table as plain text, fit for a README as it stands."""
    rows = [("claim", "what was done", "held", "s")]
    rows += [(tally.row, _words(tally), tally.result, f"{tally.seconds:.0f}") for tally in tallies]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [f"{a:{widths[0]}}  {b:{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _words(tally: Tally) -> str:
    seen = ", ".join(f"{number} {what}" for what, number in sorted(tally.seen.items()))
    return f"{tally.done} ({seen})" if seen else tally.done
