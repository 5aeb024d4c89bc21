"""A picture of the training data: a row of images for each class, under its name."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLUMNS = 12  # images of a class
ROWS = 20  # classes at most
SCALE = 2
GAP = 4  # pixels
TEXT = 130  # pixels for the class's name


def draw_preview(images: np.ndarray, labels: np.ndarray, classes: list[str]) -> Image.Image:
    """The first images uint8 (N, H, W, C) of each class, at most 20 classes, on white."""
    height, width = (SCALE * side + GAP for side in images.shape[1:3])
    shown = classes[:ROWS]
    sheet = Image.new("RGB", (TEXT + COLUMNS * width + GAP, len(shown) * height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    for row, name in enumerate(shown):
        top = GAP + row * height
        draw.text((8, top + height / 2 - GAP), _fitted(name, font), "black", font, anchor="lm")
        for column, index in enumerate(np.flatnonzero(labels == row)[:COLUMNS]):
            sheet.paste(_enlarged(images[index]), (TEXT + column * width, top))
    return sheet


def _enlarged(image: np.ndarray) -> Image.Image:
    picture = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
    return picture.resize((SCALE * picture.width, SCALE * picture.height), Image.Resampling.NEAREST)


def _fitted(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The name, cut to the width that there is."""
    while font.getlength(name) > TEXT - 16:
        name = name.removesuffix("…")[:-1] + "…"
    return name
