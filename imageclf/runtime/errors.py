"""Faults that a user can mend. Each is one sentence: where, what was found, what to do."""

import difflib
import unicodedata
from collections.abc import Iterable, Sequence


class UserError(Exception):
    """Ends a stage with its sentence on standard error and its class's exit code."""

    exit_code = 1


class ParamsError(UserError):
    """params.yaml says something that cannot be done."""

    exit_code = 2


class DataError(UserError):
    """Images, labels or an input file are missing or are not what they should be."""

    exit_code = 3


class SourceError(UserError):
    """No source brought the data set whole."""

    exit_code = 4


class MachineError(UserError):
    """The machine lacks something: a device, memory, disk, a program."""

    exit_code = 5


class Busy(UserError):
    """Another process is at the same work."""

    exit_code = 7


class Stopped(UserError):
    """A signal asked for the end, and everything is in order for the next time."""

    def __init__(self, sentence: str, number: int) -> None:
        super().__init__(sentence)
        self.exit_code = 128 + number  # as a shell reports a signal


class Diverged(UserError):
    """The loss is no longer a number."""

    exit_code = 6


class Fault(Exception):
    """A source failed. The message says what was found there, to stand after an address and a colon."""


class TooSlow(Fault):
    """The host brings bytes, but so few that another source comes first."""


BREAKING = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories: controls, halves of broken bytes, line and paragraph ends
SHOWN = 3  # of many names


def printable(text: object) -> str:
    """`text` on one line that any terminal can show: control characters and broken bytes become escapes."""
    words = str(text)
    if words.isprintable():  # nearly all are, and this is a hundred times as fast
        return words
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in BREAKING else character
        for character in words
    )


def some(names: Sequence[object]) -> str:
    """The first three of many names, and how many there are."""
    more = f", ... ({len(names):,} in all)" if len(names) > SHOWN else ""
    return printable(", ".join(map(str, names[:SHOWN]))) + more


def nearest(word: str, known: list[str]) -> str:
    """In brackets, the known word that was probably meant; empty if none is near."""
    # The last part decides first: train.device is meant to be runtime.device.
    same_name = [key for key in known if key.rsplit(".", 1)[-1] == word.rsplit(".", 1)[-1]]
    close = same_name[0] if same_name else closest(word, known)
    return f" (did you mean {close}?)" if close else ""


def closest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The known word that is spelt most like this one; empty if none is near."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)), "")
