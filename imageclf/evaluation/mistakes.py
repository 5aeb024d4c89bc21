"""Sheets of mistakes: each picture with its label and answer, and beside it what spoke for the answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from imageclf.images.grid import LINE, WHITE, Grid, as_picture, drawable, enlarge, fitted, wrapped

BOX = 192  # pixels, the square that an image is drawn in
BESIDE = 4  # between a picture and its heat map
GAP = 20  # between cells, and around the sheet
COLUMNS = (4, 12)  # minimum, for the title, and maximum; half as many of pairs
MOST_LINES = 4  # of a class's name
Colour = tuple[int, int, int]
BLACK, GREY, GREEN, RED, FRAME = (24, 24, 27), (113, 113, 122), (21, 128, 61), (185, 28, 28), (228, 228, 231)


@dataclass(frozen=True)
class Mistake:
    """An image uint8 (H, W, C) as the network saw it, its name and label, the predicted class and its probability."""

    image: np.ndarray
    name: str
    label: str
    prediction: str
    probability: float
    whole: np.ndarray | None = None  # uint8 (h, w, C): the picture whose middle, as a square, is the image
    heat: np.ndarray | None = None  # float32 (h, w), at least 0: what spoke for the answer, of the image

    @property
    def is_cut(self) -> bool:
        """Whether the network saw a part of the picture."""
        return self.whole is not None and self.whole.shape[0] != self.whole.shape[1]


Written = tuple[str, int, Colour]  # a line, the size of its letters, their colour


def draw_mistakes(
    mistakes: Sequence[Mistake],
    *,
    title: str,
    subtitle: str,
    words: tuple[str, str] = ("true", "predicted"),
    colours: tuple[Colour, Colour] = (GREEN, RED),
) -> Image.Image:
    """Draw all `mistakes` in rows under a title; with heat maps beside the pictures if they have them.

    `words` stand before label and prediction, in `colours`.
    """
    paired = any(mistake.heat is not None for mistake in mistakes)
    width = 2 * BOX + BESIDE if paired else BOX
    captions = [_caption(mistake, width, words, colours) for mistake in mistakes]
    lines = max(map(len, captions), default=3)
    least, most = (limit // 2 if paired else limit for limit in COLUMNS)
    columns = min(max(round(math.sqrt(len(mistakes) * BOX / width)), least), most)
    header = 45 + LINE * (1 + paired + any(mistake.is_cut for mistake in mistakes))
    grid = Grid(
        columns,
        math.ceil(len(mistakes) / columns),
        box=(width, BOX),
        gap=(GAP, LINE * lines + GAP),
        corner=(GAP, GAP + header),
    )
    _write_header(grid, title, subtitle, mistakes)
    for position, (mistake, caption) in enumerate(zip(mistakes, captions, strict=True)):
        left, top = grid.place(position, _picture(mistake, width))
        grid.draw.rectangle((left - 1, top - 1, left + width, top + BOX), outline=FRAME)
        for number, (text, size, colour) in enumerate(caption):
            place = left, top + BOX + 5 + number * LINE
            grid.draw.text(place, text, colour, ImageFont.load_default(size=size))
    return grid.sheet


def _write_header(grid: Grid, title: str, subtitle: str, mistakes: Sequence[Mistake]) -> None:
    lines = [(title, 22, BLACK), (subtitle, 15, GREY)]
    if any(mistake.is_cut for mistake in mistakes):
        lines.append(("In a white frame: what the network saw of a picture", 15, GREY))
    top = GAP
    for text, size, colour in lines:
        font = ImageFont.load_default(size=size)
        grid.draw.text((GAP, top), fitted(drawable(text, font), font, grid.sheet.width - 2 * GAP), colour, font)
        top += size + 8 if size > LINE else LINE
    if any(mistake.heat is not None for mistake in mistakes):
        font = ImageFont.load_default(size=15)
        words = "On the right: what spoke for the answer, from nothing "
        grid.draw.text((GAP, top), words, GREY, font)
        ramp = ramp_colours(np.linspace(0, 1, 120, dtype=np.float32)[None].repeat(LINE - 7, 0))
        left = GAP + round(font.getlength(words))
        grid.sheet.paste(Image.fromarray(np.rint(255 * ramp).astype(np.uint8)), (left, top + 4))
        grid.draw.text((left + 120, top), " to the most in this picture", GREY, font)


def _caption(mistake: Mistake, width: int, words: tuple[str, str], colours: tuple[Colour, Colour]) -> list[Written]:
    font = ImageFont.load_default(size=15)
    named = zip(words, (mistake.label, mistake.prediction), strict=True)
    label, answer = (drawable(f"{word}: {name}", font) for word, name in named)
    percent = f"  {100 * mistake.probability:.1f} %"
    small = ImageFont.load_default(size=13)
    # Keep the end of a path: the file's name.
    name = fitted(drawable(mistake.name, small), small, width, keep_end=True)
    return [
        *((line, 15, colours[0]) for line in wrapped(label, font, width, most=MOST_LINES)),
        *((line, 15, colours[1]) for line in wrapped(answer, font, width, most=MOST_LINES, tail=percent)),
        (name, 13, GREY),
    ]


def _picture(mistake: Mistake, width: int) -> Image.Image:
    """The cell (width, BOX): the picture, and the heat map of what the network saw of it."""
    seen = enlarge(mistake.image, BOX)
    picture = seen if mistake.whole is None else _framed(enlarge(mistake.whole, BOX).convert("RGB"))
    sides = [picture] if mistake.heat is None else [picture, heated(seen, mistake.heat)]
    cell = Image.new("RGB", (width, BOX), WHITE)
    for number, side in enumerate(sides):
        cell.paste(side, (number * (BOX + BESIDE) + (BOX - side.width) // 2, (BOX - side.height) // 2))
    return cell


def _framed(picture: Image.Image) -> Image.Image:
    """Frame the largest square in the middle, if it is not the whole picture."""
    width, height = picture.size
    side = min(width, height)
    if width != height:
        left, top = (width - side) // 2, (height - side) // 2
        draw = ImageDraw.Draw(picture)
        for inset, colour in ((0, BLACK), (1, WHITE), (2, WHITE), (3, BLACK)):
            draw.rectangle((left + inset, top + inset, left + side - 1 - inset, top + side - 1 - inset), outline=colour)
    return picture


GREY_PART = 0.35  # of the picture in its heat map


def heated(picture: Image.Image, heat: np.ndarray) -> Image.Image:
    """The picture in grey under its heat map, float32 (h, w), which is scaled to its own maximum."""
    scaled = heat / max(float(heat.max()), np.finfo(np.float32).tiny)
    smooth = Image.fromarray(scaled.astype(np.float32)).resize(picture.size, Image.Resampling.BICUBIC)
    colours = ramp_colours(np.asarray(smooth))  # (H, W, 3)
    grey = np.asarray(picture.convert("L"), np.float64)[..., None] / 255
    return as_picture(np.rint(255 * ((1 - GREY_PART) * colours + GREY_PART * grey)).astype(np.uint8))


# Lightness and the axes a (green to red) and b (blue to yellow) in OKLab, a space in which equal distances look equal
# (bottosson.github.io/posts/oklab): from dark blue by purple and orange to a light yellow.
STOPS = np.array(
    [(0.20, 0.01, -0.09), (0.42, 0.12, -0.11), (0.62, 0.17, 0.04), (0.80, 0.05, 0.13), (0.96, -0.03, 0.11)]
)
TO_CONES = np.array(
    [(1, 0.3963377774, 0.2158037573), (1, -0.1055613458, -0.0638541728), (1, -0.0894841775, -1.2914855480)]
)
TO_RGB = np.array(
    [
        (4.0767416621, -3.3077115913, 0.2309699292),
        (-1.2684380046, 2.6097574011, -0.3413193965),
        (-0.0041960863, -0.7034186147, 1.7076147010),
    ]
)


def ramp_colours(values: np.ndarray) -> np.ndarray:
    """Colours (..., 3), sRGB from 0 to 1, of values from 0 to 1: equal steps look equally large."""
    lengths = np.linalg.norm(np.diff(STOPS, axis=0), axis=1)
    along = np.concatenate([[0], np.cumsum(lengths)]) / lengths.sum()
    lab = np.stack([np.interp(values, along, stops) for stops in STOPS.T], axis=-1)
    light = np.clip((lab @ TO_CONES.T) ** 3 @ TO_RGB.T, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
