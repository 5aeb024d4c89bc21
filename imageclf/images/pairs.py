"""Sheets of pairs of pictures, such as near-copies."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from imageclf.images.grid import LINE, WHITE, Grid, Size, as_picture, drawable, fitted

BOX = 192  # pixels, the square that a picture is drawn in
BESIDE = 8  # between the two pictures of a pair
GAP = 20  # between pairs, and around the sheet
HEADER = 45
COLUMNS = 3
BLACK, GREY, RED = (24, 24, 27), (113, 113, 122), (185, 28, 28)


@dataclass(frozen=True)
class Pair:
    """A picture and its near-copy: views uint8 (H, W, 3) that are stretched, and true sizes (width, height)."""

    views: tuple[np.ndarray, np.ndarray]
    sizes: tuple[Size, Size]
    kind: str
    names: tuple[str, str]
    splits: tuple[str, str]
    marked: bool  # in red: it lies across splits, or has two labels


def draw_pairs(pairs: list[Pair], *, title: str) -> Image.Image:
    """Draw each pair side by side, in rows under a title."""
    box = 2 * BOX + BESIDE, BOX
    gap, corner = (GAP, 3 * LINE + GAP), (GAP, GAP + HEADER)
    columns = min(max(len(pairs), 2), COLUMNS)
    grid = Grid(columns, math.ceil(len(pairs) / columns), box=box, gap=gap, corner=corner)
    _write(grid.draw, (GAP, GAP), title, size=22, colour=BLACK, width=grid.sheet.width - 2 * GAP)
    for position, pair in enumerate(pairs):
        both = Image.new("RGB", box, WHITE)
        for number, (view, size) in enumerate(zip(pair.views, pair.sizes, strict=True)):
            scale = BOX / max(size)
            shape = max(1, round(scale * size[0])), max(1, round(scale * size[1]))
            picture = as_picture(view).resize(shape, Image.Resampling.BICUBIC)
            both.paste(picture, (number * (BOX + BESIDE) + (BOX - shape[0]) // 2, (BOX - shape[1]) // 2))
        left, top = grid.place(position, both)
        below, colour = top + BOX + 5, RED if pair.marked else BLACK
        _write(grid.draw, (left, below), pair.kind, size=15, colour=colour, width=box[0])
        for line, (name, split) in enumerate(zip(pair.names, pair.splits, strict=True), 1):
            corner = left, below + line * LINE
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
