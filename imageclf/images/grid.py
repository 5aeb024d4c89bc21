"""Sheets of images with captions."""

import math
import unicodedata
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from imageclf.runtime.errors import printable
from imageclf.runtime.files import made

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
LACKING = "\uffff"  # a noncharacter, missing in every font


def drawable(text: str, font: Font) -> str:
    """One line without accents; letters missing in the font, such as Chinese ones, become escapes."""
    letters = unicodedata.normalize("NFKD", printable(text))
    box = _shape(font, LACKING)
    return "".join(
        letter.encode("unicode_escape").decode() if _shape(font, letter) == box else letter
        for letter in letters
        if not unicodedata.combining(letter)
    )


def fitted(text: str, font: Font, width: float, *, keep_end: bool = False) -> str:
    """Cut the text with an ellipsis to at most `width` pixels, at its end or, with `keep_end`, at its beginning."""
    if font.getlength(text) <= width:
        return text
    kept = len(text)
    while font.getlength(_cut(text, kept, keep_end=keep_end)) > width and kept:
        kept -= 1
    return _cut(text, kept, keep_end=keep_end)


def wrapped(text: str, font: Font, width: float, *, most: int, tail: str = "") -> list[str]:
    """Break the text into at most `most` lines of `width` pixels, at spaces or within words that are too long.

    What is more is cut with an ellipsis. `tail` stays whole, on the last line.
    """
    lines: list[str] = []
    while len(lines) < most - 1 and font.getlength(text + tail) > width:
        kept = len(text)
        while font.getlength(text[:kept]) > width and kept > 1:
            kept -= 1
        if kept < len(text):
            kept = text.rfind(" ", 1, kept + 1) if " " in text[1 : kept + 1] else kept
        lines.append(text[:kept].rstrip())
        text = text[kept:].lstrip()
    return [*lines, (fitted(text, font, width - font.getlength(tail)) + tail).lstrip()]


def _cut(text: str, kept: int, *, keep_end: bool) -> str:
    return "…" + text[len(text) - kept :] if keep_end else text[:kept] + "…"


def _shape(font: Font, letter: str) -> bytes:
    return b"%d " % font.getlength(letter) + bytes(font.getmask(letter))


def drawn(path: Path, draw: Callable[[], Image.Image], **options: Any) -> bytes:
    """Call `draw`, and encode the result as PNG; if it fails, print a line and return an empty picture."""
    return made(path, lambda: _png(draw(), **options), instead=lambda _: _png(Image.new("RGB", (320, 40), "white")))


def _png(picture: Image.Image, **options: Any) -> bytes:
    file = BytesIO()
    picture.save(file, format="PNG", **options)
    return file.getvalue()


WHITE = (255, 255, 255)
Size = tuple[int, int]  # width and height, in pixels
LINE = 19  # pixels, of a line of letters of size 15


class Grid:
    """A white sheet of cells in rows: each has room for a picture as large as `box`, and a gap before the next."""

    def __init__(self, columns: int, rows: int, *, box: Size, gap: Size, corner: Size, margin: Size = (0, 0)) -> None:
        """`corner` is that of the first cell; the margin is right of the last column and below the last row."""
        self._columns, self._box, self._corner = columns, box, corner
        self._pitch = box[0] + gap[0], box[1] + gap[1]
        width = corner[0] + columns * self._pitch[0] + margin[0]
        height = corner[1] + rows * self._pitch[1] + margin[1]
        self.sheet = Image.new("RGB", (width, height), WHITE)
        self.draw = ImageDraw.Draw(self.sheet)

    def place(self, position: int, picture: Image.Image) -> tuple[int, int]:
        """Paste the picture into the middle of a cell, counted row by row, and return the cell's corner."""
        row, column = divmod(position, self._columns)
        left, top = self._corner[0] + column * self._pitch[0], self._corner[1] + row * self._pitch[1]
        across, down = (self._box[0] - picture.width) // 2, (self._box[1] - picture.height) // 2
        self.sheet.paste(picture, (left + across, top + down))
        return left, top


def as_picture(image: np.ndarray) -> Image.Image:
    """An image uint8 (H, W, C), C 1 or 3."""
    return Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])


CRISP = 3  # times: an image enlarged by so much shows its pixels as squares


def enlarge(image: np.ndarray, side: int) -> Image.Image:
    """An image uint8 (H, W, C), C 1 or 3, as large as fits a square: a small one by a whole factor, pixels sharp."""
    picture = as_picture(image)
    factor = side // max(picture.size)
    if factor >= CRISP:
        return picture.resize((factor * picture.width, factor * picture.height), Image.Resampling.NEAREST)
    scale = side / max(picture.size)
    size = max(1, round(scale * picture.width)), max(1, round(scale * picture.height))
    return picture.resize(size, Image.Resampling.LANCZOS)


PREVIEW_COLUMNS = 12  # images per class at most; fewer of large images
ROWS = 20  # classes at most
SIDE = 192  # pixels, of a large image in the preview; small ones are drawn twice as large as they are
LARGEST = (1600, 3000)  # width and height of the preview, in pixels
PREVIEW_GAP = 4  # pixels
TEXT = 130  # pixels for the class's name
PREVIEW_LINE = 24  # pixels for the note on further classes


def first_of_each(labels: np.ndarray) -> np.ndarray:
    """Indices of the images in a preview, from labels int64 (N,)."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:PREVIEW_COLUMNS] for label in range(ROWS)]))


def draw_preview(images: np.ndarray, labels: np.ndarray, classes: list[str]) -> Image.Image:
    """Draw the first images uint8 (N, H, W, C) of each class, for at most 20 classes."""
    shown = classes[:ROWS]
    width, height = _cell(*images.shape[1:3], rows=len(shown))
    columns = min(PREVIEW_COLUMNS, (LARGEST[0] - TEXT - PREVIEW_GAP) // (width + PREVIEW_GAP))
    note = PREVIEW_LINE if len(classes) > len(shown) else 0
    gap, corner, margin = (PREVIEW_GAP, PREVIEW_GAP), (TEXT, PREVIEW_GAP), (PREVIEW_GAP, note)
    grid = Grid(columns, len(shown), box=(width, height), gap=gap, corner=corner, margin=margin)
    font = ImageFont.load_default(size=15)
    if note:
        words = f"the first {len(shown)} of {len(classes):,} classes"
        middle = grid.sheet.height - PREVIEW_LINE / 2 - PREVIEW_GAP / 2
        grid.draw.text((8, middle), words, "black", font, anchor="lm")
    for row, name in enumerate(shown):
        middle = (row + 0.5) * (height + PREVIEW_GAP)
        lines = wrapped(drawable(name, font), font, TEXT - 16, most=max(1, height // LINE))
        grid.draw.text((8, middle), "\n".join(lines), "black", font, anchor="lm")
        for column, index in enumerate(np.flatnonzero(labels == row)[:columns]):
            grid.place(row * columns + column, _scaled(images[index], (width, height)))
    return grid.sheet


def _cell(height: int, width: int, *, rows: int) -> Size:
    """Width and height of an image in the preview."""
    room_across = LARGEST[0] - TEXT - 2 * PREVIEW_GAP
    room_down = (LARGEST[1] - PREVIEW_GAP - PREVIEW_LINE) / rows - PREVIEW_GAP
    scale = min(2, SIDE / max(height, width), room_down / height, room_across / width)
    return max(1, int(scale * width)), max(1, int(scale * height))


def _scaled(image: np.ndarray, size: Size) -> Image.Image:
    picture = as_picture(image)
    crisp = size == (2 * picture.width, 2 * picture.height)
    return picture.resize(size, Image.Resampling.NEAREST if crisp else Image.Resampling.BICUBIC)


AUGMENTED_COLUMNS = 8
AUGMENTED_SIDE = 144  # pixels, of an image
AUGMENTED_GAP = 6


def draw_augmented(images: np.ndarray) -> Image.Image:
    """The first images of training uint8 (N, H, W, C), C 1 or 3, as the network gets them: rows of 8 under a title."""
    count, height, width, _ = images.shape
    title = f"The first {count} images of the first epoch, as augmented for the network: {width}x{height} pixels"
    pictures = [enlarge(image, AUGMENTED_SIDE) for image in images]
    box, font = pictures[0].size, ImageFont.load_default(size=15)
    lines = wrapped(title, font, AUGMENTED_COLUMNS * (box[0] + AUGMENTED_GAP) - AUGMENTED_GAP, most=len(title))
    gap, corner = (AUGMENTED_GAP, AUGMENTED_GAP), (AUGMENTED_GAP, 16 + LINE * len(lines))
    grid = Grid(AUGMENTED_COLUMNS, math.ceil(count / AUGMENTED_COLUMNS), box=box, gap=gap, corner=corner)
    grid.draw.text((AUGMENTED_GAP, 8), "\n".join(lines), "black", font)
    for position, picture in enumerate(pictures):
        grid.place(position, picture)
    return grid.sheet
