"""Names as people see them: those that look alike, and in what they differ all the same."""

import re
import unicodedata
from collections.abc import Callable

# Do not show, and shape the letters of some scripts, and emoji.
JOINERS = "\u200c\u200d"
SHAPING = JOINERS + "\ufe0e\ufe0f"
UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    f"{SHAPING}]"
)
SHOWS = ("<super>", "<sub>", "<circle>", "<fraction>", "<square>")  # other forms of a character that look different


def cleaned(name: str) -> str:
    """A name without stray white space and characters that do not show, its accents in one form."""
    return unicodedata.normalize("NFC", " ".join(UNSEEN.sub(_kept, name).split())).strip(JOINERS)


def look(name: str) -> str:
    """The same for all names that people can hardly tell apart."""
    for same in DIFFERENCES.values():
        name = same(name)
    return name


def difference(one: str, other: str) -> str:
    """In what two names differ that look alike."""
    for kind, same in DIFFERENCES.items():
        if same(one) == same(other):
            return kind
    kinds = []
    for kind, same in DIFFERENCES.items():
        if (same(one), same(other)) != (one, other):
            kinds.append(kind)
        one, other = same(one), same(other)
    return ", and in ".join(kinds)


def _kept(found: re.Match[str]) -> str:
    return found[0] if found[0] in SHAPING else ""


def _one_space(name: str) -> str:
    return " ".join(name.split())


def _shown(name: str) -> str:
    return UNSEEN.sub("", name)


def _one_form(name: str) -> str:
    forms = (
        letter if unicodedata.decomposition(letter).startswith(SHOWS) else unicodedata.normalize("NFKC", letter)
        for letter in unicodedata.normalize("NFC", name)
    )
    return unicodedata.normalize("NFC", "".join(forms))


# In what names may differ that look alike, and what makes those the same that differ in no more.
DIFFERENCES: dict[str, Callable[[str], str]] = {
    "characters that do not show": _shown,
    "white space": _one_space,
    "Unicode form": _one_form,
    "upper and lower case": str.casefold,
}
