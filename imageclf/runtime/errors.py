"""Errors that a user can fix. Errors are one line: where, what was found, what to do."""

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import PurePath


class UserError(Exception):
    """Ends a stage with one line on standard error and the class's exit code."""

    exit_code = 1


class ParamsError(UserError):
    """A value in params.yaml is invalid."""

    exit_code = 2


class DataError(UserError):
    """Images, labels or an input file are missing or invalid."""

    exit_code = 3


class SourceError(UserError):
    """No source delivered the complete data set."""

    exit_code = 4


class MachineError(UserError):
    """The machine lacks something: a device, memory, disk, a program."""

    exit_code = 5


class Busy(UserError):
    """Another process is doing the same work."""

    exit_code = 7


class Stopped(UserError):
    """A signal requested a graceful shutdown, and the next run can continue."""

    def __init__(self, sentence: str, number: int) -> None:
        super().__init__(sentence)
        self.exit_code = 128 + number  # as a shell reports a signal


class Diverged(UserError):
    """The loss is no longer a number."""

    exit_code = 6


class RankLost(UserError):
    """Another process of a run on several has gone; those that are left end too, to be started again together."""

    exit_code = 8


class Pruned(UserError):
    """A search ends this run early, since others did better at the same point."""

    exit_code = 9


class Fault(Exception):
    """A source failed. The message follows an address and a colon."""


class TooSlow(Fault):
    """The host is below the minimum rate, so other sources are tried first."""


BREAKING = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories: controls, halves of broken bytes, line and paragraph ends
TURNING = {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}  # they reverse what follows: gpj.exe as exe.jpg
SHOWN = 3  # names


def printable(text: object) -> str:
    """Text on one line for any terminal, in its order: control characters and invalid bytes become escapes."""
    words = str(text)
    if words.isprintable():  # usually true, and a hundred times as fast
        return words
    return "".join(
        character.encode("unicode_escape").decode()
        if character in TURNING or unicodedata.category(character) in BREAKING
        else character
        for character in words
    )


def prefixes(roots: Sequence[str]) -> list[str]:
    """What stands before the paths below each root in reports: nothing for one root, else the root's name."""
    if len(roots) == 1:
        return [""]
    last = [PurePath(root).name for root in roots]
    return [f"{name}/" for name in (last if len(set(last)) == len(last) else roots)]


def some(names: Sequence[object]) -> str:
    """The first three names, and the total number."""
    more = f", ... ({len(names):,} in all)" if len(names) > SHOWN else ""
    return printable(", ".join(map(str, names[:SHOWN]))) + more


def nearest(word: str, known: list[str]) -> str:
    """A hint with the most similar known word; empty if there is none."""
    # Prefer keys with the same last part: train.device probably means runtime.device.
    same_name = [key for key in known if key.rsplit(".", 1)[-1] == word.rsplit(".", 1)[-1]]
    close = same_name[0] if same_name else closest(word, known)
    return f" (did you mean {close}?)" if close else ""


def closest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The known word that is spelt most like this one; empty if none is near."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)), "")
