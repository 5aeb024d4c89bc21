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


def fitted(text: str, font: Font, width: float) -> str:
    """The text, cut with an ellipsis to at most `width` pixels."""
    if font.getlength(text) <= width:
        return text
    kept = len(text)
    while kept and font.getlength(text[:kept] + "…") > width:
        kept -= 1
    return text[:kept] + "…"


def _shape(font: Font, letter: str) -> bytes:
    return b"%d " % font.getlength(letter) + bytes(font.getmask(letter))
