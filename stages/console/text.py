"""Text from outside, made fit for a terminal."""

import unicodedata

BREAKING = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories: controls, halves of broken bytes, line and paragraph ends


def printable(text: object) -> str:
    """`text` on one line that any terminal can show: control characters and broken bytes become escapes."""
    words = str(text)
    if words.isprintable():  # nearly all are, and this is a hundred times as fast
        return words
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in BREAKING else character
        for character in words
    )
