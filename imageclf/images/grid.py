"""Sheets of images with captions."""

import math
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
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


WHITE, BLACK, GREY = (255, 255, 255), (24, 24, 27), (113, 113, 122)
GREEN, RED, FRAME = (21, 128, 61), (185, 28, 28), (228, 228, 231)
Size = tuple[int, int]  # width and height, in pixels


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


PREVIEW_COLUMNS = 12  # images per class
ROWS = 20  # classes at most
SCALE = 2  # if there is room
LARGEST = 2500  # pixels, largest side of the sheet
PREVIEW_GAP = 4  # pixels
TEXT = 130  # pixels for the class's name
PREVIEW_LINE = 24  # pixels for the note on further classes


def first_of_each(labels: np.ndarray) -> np.ndarray:
    """Indices of the images in a preview, from labels int64 (N,)."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:PREVIEW_COLUMNS] for label in range(ROWS)]))


def draw_preview(images: np.ndarray, labels: np.ndarray, classes: list[str]) -> Image.Image:
    """Draw the first images uint8 (N, H, W, C) of each class, for at most 20 classes."""
    shown = classes[:ROWS]
    height, width = _cell(*images.shape[1:3], rows=len(shown))
    note = PREVIEW_LINE if len(classes) > len(shown) else 0
    gap, corner, margin = (PREVIEW_GAP, PREVIEW_GAP), (TEXT, PREVIEW_GAP), (PREVIEW_GAP, note)
    grid = Grid(PREVIEW_COLUMNS, len(shown), box=(width, height), gap=gap, corner=corner, margin=margin)
    font = ImageFont.load_default(size=15)
    if note:
        words = f"the first {len(shown)} of {len(classes):,} classes"
        middle = grid.sheet.height - PREVIEW_LINE / 2 - PREVIEW_GAP / 2
        grid.draw.text((8, middle), words, "black", font, anchor="lm")
    for row, name in enumerate(shown):
        middle = (row + 0.5) * (height + PREVIEW_GAP)
        grid.draw.text((8, middle), fitted(drawable(name, font), font, TEXT - 16), "black", font, anchor="lm")
        for column, index in enumerate(np.flatnonzero(labels == row)[:PREVIEW_COLUMNS]):
            grid.place(row * PREVIEW_COLUMNS + column, _scaled(images[index], (width, height)))
    return grid.sheet


def _cell(height: int, width: int, *, rows: int) -> tuple[int, int]:
    """Height and width of an image on the sheet: twice its size, or less if the sheet would be too large."""
    room_across = (LARGEST - TEXT - PREVIEW_GAP) / PREVIEW_COLUMNS - PREVIEW_GAP
    room_down = (LARGEST - PREVIEW_GAP - PREVIEW_LINE) / rows - PREVIEW_GAP
    scale = min(SCALE, room_down / height, room_across / width)
    return max(1, int(scale * height)), max(1, int(scale * width))


def _scaled(image: np.ndarray, size: tuple[int, int]) -> Image.Image:
    picture = as_picture(image)
    crisp = size == (SCALE * picture.width, SCALE * picture.height)
    return picture.resize(size, Image.Resampling.NEAREST if crisp else Image.Resampling.BICUBIC)


BOX = 192  # pixels, the square that an image is enlarged to
SHEET_GAP = 20  # between cells, and around the sheet
SHEET_LINE = 19  # height of a line of a caption
SHEET_HEADER = 64
SHEET_COLUMNS = (4, 12)  # minimum, for the title, and maximum


@dataclass(frozen=True)
class Mistake:
    """An image uint8 (H, W, C) with its name, its label, and the predicted class and probability."""

    image: np.ndarray
    name: str
    label: str
    prediction: str
    probability: float


def draw_mistakes(mistakes: list[Mistake], *, title: str, subtitle: str) -> Image.Image:
    """Draw all `mistakes` in rows under a title."""
    columns = min(max(math.ceil(math.sqrt(len(mistakes))), SHEET_COLUMNS[0]), SHEET_COLUMNS[1])
    rows = math.ceil(len(mistakes) / columns)
    gap, corner = (SHEET_GAP, 3 * SHEET_LINE + SHEET_GAP), (SHEET_GAP, SHEET_GAP + SHEET_HEADER)
    grid = Grid(columns, rows, box=(BOX, BOX), gap=gap, corner=corner)
    width = grid.sheet.width - 2 * SHEET_GAP
    _write(grid.draw, (SHEET_GAP, SHEET_GAP), title, size=22, colour=BLACK, width=width)
    _write(grid.draw, (SHEET_GAP, SHEET_GAP + 30), subtitle, size=15, colour=GREY, width=width)
    for position, mistake in enumerate(mistakes):
        _caption(grid.draw, grid.place(position, enlarge(mistake.image)), mistake)
    return grid.sheet


def enlarge(image: np.ndarray) -> Image.Image:
    """Enlarge an image uint8 (H, W, C), C 1 or 3, to fit the box, by whole factors to keep pixels sharp."""
    picture = as_picture(image)
    longest = max(picture.size)
    if longest > BOX:
        picture.thumbnail((BOX, BOX), Image.Resampling.LANCZOS)
        return picture
    factor = BOX // longest
    return picture.resize((factor * picture.width, factor * picture.height), Image.Resampling.NEAREST)


def _caption(draw: ImageDraw.ImageDraw, corner: tuple[int, int], mistake: Mistake) -> None:
    """Frame the cell at `corner`, and write the mistake below it."""
    left, top = corner
    draw.rectangle((left - 1, top - 1, left + BOX, top + BOX), outline=FRAME)
    below = top + BOX + 5
    percent = f"  {100 * mistake.probability:.1f} %"
    _write(draw, (left, below), f"true: {mistake.label}", size=15, colour=GREEN, width=BOX)
    _write(
        draw,
        (left, below + SHEET_LINE),
        f"predicted: {mistake.prediction}",
        tail=percent,
        size=15,
        colour=RED,
        width=BOX,
    )
    # Keep the end of a path: the file's name.
    _write(draw, (left, below + 2 * SHEET_LINE), mistake.name, keep_end=True, size=13, colour=GREY, width=BOX)


PAIR_COLUMNS = 3
BESIDE = 8  # pixels between the two pictures of a pair


@dataclass(frozen=True)
class Pair:
    """A picture and its near-copy: views uint8 (H, W, 3) that are stretched, and true sizes (width, height)."""

    views: tuple[np.ndarray, np.ndarray]
    sizes: tuple[Size, Size]
    kind: str
    names: tuple[str, str]
    splits: tuple[str, str]
    across: bool  # it lies across splits


def draw_pairs(pairs: list[Pair], *, title: str) -> Image.Image:
    """Draw each pair side by side, in rows under a title."""
    box = 2 * BOX + BESIDE, BOX
    gap, corner = (SHEET_GAP, 3 * SHEET_LINE + SHEET_GAP), (SHEET_GAP, SHEET_GAP + SHEET_HEADER - SHEET_LINE)
    columns = min(max(len(pairs), 2), PAIR_COLUMNS)
    grid = Grid(columns, math.ceil(len(pairs) / columns), box=box, gap=gap, corner=corner)
    _write(grid.draw, (SHEET_GAP, SHEET_GAP), title, size=22, colour=BLACK, width=grid.sheet.width - 2 * SHEET_GAP)
    for position, pair in enumerate(pairs):
        both = Image.new("RGB", box, WHITE)
        for number, (view, size) in enumerate(zip(pair.views, pair.sizes, strict=True)):
            scale = BOX / max(size)
            shape = max(1, round(scale * size[0])), max(1, round(scale * size[1]))
            picture = as_picture(view).resize(shape, Image.Resampling.BICUBIC)
            both.paste(picture, (number * (BOX + BESIDE) + (BOX - shape[0]) // 2, (BOX - shape[1]) // 2))
        left, top = grid.place(position, both)
        below, colour = top + BOX + 5, RED if pair.across else BLACK
        _write(grid.draw, (left, below), pair.kind, size=15, colour=colour, width=box[0])
        for line, (name, split) in enumerate(zip(pair.names, pair.splits, strict=True), 1):
            corner = left, below + line * SHEET_LINE
            _write(grid.draw, corner, name, tail=f"  ({split})", keep_end=True, size=13, colour=GREY, width=box[0])
    return grid.sheet


def _write(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    text: str,
    *,
    tail: str = "",
    keep_end: bool = False,
    size: int,
    colour: tuple[int, int, int],
    width: float,
) -> None:
    """Write one line, cut so that it fits into `width` pixels together with `tail`."""
    font = ImageFont.load_default(size=size)
    line = fitted(drawable(text, font), font, width - font.getlength(tail), keep_end=keep_end)
    draw.text(corner, line + tail, colour, font)


AUGMENTED_COLUMNS = 8
SIDE = 88  # pixels: images are enlarged to at most this, by a whole factor
AUGMENTED_GAP = 6
AUGMENTED_HEADER = 34


def draw_augmented(images: np.ndarray) -> Image.Image:
    """The first training images uint8 (N, H, W, C), C 1 or 3, as the first epoch has them: rows of 8 under a title."""
    count, height, width, _ = images.shape
    title = f"The first {count} training images as the first epoch has them, {width}x{height} pixels"
    factor = max(1, SIDE // max(height, width))
    size = factor * width, factor * height
    gap, corner = (AUGMENTED_GAP, AUGMENTED_GAP), (AUGMENTED_GAP, AUGMENTED_HEADER)
    grid = Grid(AUGMENTED_COLUMNS, math.ceil(count / AUGMENTED_COLUMNS), box=size, gap=gap, corner=corner)
    grid.draw.text((AUGMENTED_GAP, 8), title, "black", ImageFont.load_default(size=15))
    for position, image in enumerate(images):
        grid.place(position, as_picture(image).resize(size, Image.Resampling.NEAREST))
    return grid.sheet
