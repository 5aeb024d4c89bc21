"""Names from outside, drawn into a picture with Pillow's own font: the same pixels on every machine."""

import unicodedata

from PIL import ImageFont

from stages.console.text import printable

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
LACKING = "\uffff"  # no letter, which no font has


def drawable(text: str, font: Font) -> str:
    """One line without accents; a letter that the font lacks, as those of Chinese, becomes its escape."""
    letters = unicodedata.normalize("NFKD", printable(text))
    box = _shape(font, LACKING)
    return "".join(
        letter.encode("unicode_escape").decode() if _shape(font, letter) == box else letter
        for letter in letters
        if not unicodedata.combining(letter)
    )


def fitted(text: str, font: Font, width: float, *, keep_end: bool = False) -> str:
    """The text, cut with an ellipsis to at most `width` pixels: at its end, or with `keep_end` at its beginning."""
    if font.getlength(text) <= width:
        return text
    kept = len(text)
    while font.getlength(_cut(text, kept, keep_end=keep_end)) > width and kept:
        kept -= 1
    return _cut(text, kept, keep_end=keep_end)


def _cut(text: str, kept: int, *, keep_end: bool) -> str:
    return "…" + text[len(text) - kept :] if keep_end else text[:kept] + "…"


def _shape(font: Font, letter: str) -> bytes:
    return b"%d " % font.getlength(letter) + bytes(font.getmask(letter))
