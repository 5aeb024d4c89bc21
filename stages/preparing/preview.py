"""A picture of the training data: a row of images for each class, under its name."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stages.pictures.lettering import drawable, fitted

COLUMNS = 12  # images of a class
ROWS = 20  # classes at most
SCALE = 2  # where there is room for it
LARGEST = 2500  # pixels, a side of the sheet
GAP = 4  # pixels
TEXT = 130  # pixels for the class's name
LINE = 24  # pixels for what is not shown


def first_of_each(labels: np.ndarray) -> np.ndarray:
    """Where the images stand that a preview shows, of labels int64 (N,)."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:COLUMNS] for label in range(ROWS)]))


def draw_preview(images: np.ndarray, labels: np.ndarray, classes: list[str]) -> Image.Image:
    """The first images uint8 (N, H, W, C) of each class on white; of more than 20 classes the sheet says so."""
    shown = classes[:ROWS]
    height, width = _cell(*images.shape[1:3], rows=len(shown))
    across, down = width + GAP, height + GAP
    note = LINE if len(classes) > len(shown) else 0
    sheet = Image.new("RGB", (TEXT + COLUMNS * across + GAP, len(shown) * down + GAP + note), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    if note:
        words = f"the first {len(shown)} of {len(classes):,} classes"
        draw.text((8, sheet.height - LINE / 2 - GAP / 2), words, "black", font, anchor="lm")
    for row, name in enumerate(shown):
        top = GAP + row * down
        draw.text((8, top + down / 2 - GAP), fitted(drawable(name, font), font, TEXT - 16), "black", font, anchor="lm")
        for column, index in enumerate(np.flatnonzero(labels == row)[:COLUMNS]):
            sheet.paste(_scaled(images[index], (width, height)), (TEXT + column * across, top))
    return sheet


def _cell(height: int, width: int, *, rows: int) -> tuple[int, int]:
    """Height and width of an image on the sheet: twice its own, or as much as the largest sheet has room for."""
    room_across = (LARGEST - TEXT - GAP) / COLUMNS - GAP
    room_down = (LARGEST - GAP - LINE) / rows - GAP
    scale = min(SCALE, room_down / height, room_across / width)
    return max(1, int(scale * height)), max(1, int(scale * width))


def _scaled(image: np.ndarray, size: tuple[int, int]) -> Image.Image:
    picture = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
    crisp = size == (SCALE * picture.width, SCALE * picture.height)
    return picture.resize(size, Image.Resampling.NEAREST if crisp else Image.Resampling.BICUBIC)
