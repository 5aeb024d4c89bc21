"""A contact sheet: enlarged images in rows, each under it what it is and what it was taken for."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stages.pictures.lettering import drawable, fitted

BOX = 192  # pixels, the side of the square that an image is enlarged to fit
GAP = 20  # between two cells, and around the sheet
LINE = 19  # height of a line of a caption
HEADER = 64
COLUMNS = (4, 12)  # at least, so that the title fits, and at most

WHITE, BLACK, GREY = (255, 255, 255), (24, 24, 27), (113, 113, 122)
GREEN, RED, FRAME = (21, 128, 61), (185, 28, 28), (228, 228, 231)


@dataclass(frozen=True)
class Mistake:
    """An image uint8 (H, W, C) with its name, its class, and the class and probability it was given."""

    image: np.ndarray
    name: str
    label: str
    prediction: str
    probability: float


def draw_mistakes(mistakes: list[Mistake], *, title: str, subtitle: str) -> Image.Image:
    """All `mistakes`, left to right and down, under a title; with none the title stands alone."""
    columns = min(max(math.ceil(math.sqrt(len(mistakes))), COLUMNS[0]), COLUMNS[1])
    cell = (BOX + GAP, BOX + 3 * LINE + GAP)
    rows = math.ceil(len(mistakes) / columns)
    sheet = Image.new("RGB", (GAP + columns * cell[0], GAP + HEADER + rows * cell[1]), WHITE)
    draw = ImageDraw.Draw(sheet)
    width = columns * cell[0] - GAP
    _write(draw, (GAP, GAP), title, size=22, colour=BLACK, width=width)
    _write(draw, (GAP, GAP + 30), subtitle, size=15, colour=GREY, width=width)
    for position, mistake in enumerate(mistakes):
        row, column = divmod(position, columns)
        _draw_cell(sheet, draw, (GAP + column * cell[0], GAP + HEADER + row * cell[1]), mistake)
    return sheet


def enlarge(image: np.ndarray) -> Image.Image:
    """An image uint8 (H, W, C), C 1 or 3, as large as fits the box: whole multiples keep its pixels crisp."""
    picture = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
    longest = max(picture.size)
    if longest > BOX:
        picture.thumbnail((BOX, BOX), Image.Resampling.LANCZOS)
        return picture
    factor = BOX // longest
    return picture.resize((factor * picture.width, factor * picture.height), Image.Resampling.NEAREST)


def _draw_cell(sheet: Image.Image, draw: ImageDraw.ImageDraw, corner: tuple[int, int], mistake: Mistake) -> None:
    left, top = corner
    picture = enlarge(mistake.image)
    draw.rectangle((left - 1, top - 1, left + BOX, top + BOX), outline=FRAME)
    sheet.paste(picture, (left + (BOX - picture.width) // 2, top + (BOX - picture.height) // 2))
    below = top + BOX + 5
    percent = f"  {100 * mistake.probability:.1f} %"
    _write(draw, (left, below), f"is {mistake.label}", size=15, colour=GREEN, width=BOX)
    _write(draw, (left, below + LINE), f"said {mistake.prediction}", tail=percent, size=15, colour=RED, width=BOX)
    # Of a path the end, which is the file's name.
    _write(draw, (left, below + 2 * LINE), mistake.name, keep_end=True, size=13, colour=GREY, width=BOX)


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
    """Write one line, cut so that it and the whole of `tail` fit into `width` pixels."""
    font = ImageFont.load_default(size=size)
    line = fitted(drawable(text, font), font, width - font.getlength(tail), keep_end=keep_end)
    draw.text(corner, line + tail, colour, font)
