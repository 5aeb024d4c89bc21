"""A picture of what the network is trained on: images after augmentation."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLUMNS = 8
SIDE = 88  # pixels that an image is enlarged towards, by a whole factor
GAP = 6
HEADER = 34


def draw_augmented(images: np.ndarray, title: str) -> Image.Image:
    """Images uint8 (N, H, W, C), C 1 or 3, in rows of 8 under a title."""
    count, height, width, channels = images.shape
    factor = max(1, SIDE // max(height, width))
    across, down = factor * width + GAP, factor * height + GAP
    sheet = Image.new("RGB", (GAP + COLUMNS * across, HEADER + -(-count // COLUMNS) * down), "white")
    ImageDraw.Draw(sheet).text((GAP, 8), title, "black", ImageFont.load_default(size=15))
    for position, image in enumerate(images):
        row, column = divmod(position, COLUMNS)
        picture = Image.fromarray(image if channels == 3 else image[:, :, 0])
        picture = picture.resize((factor * width, factor * height), Image.Resampling.NEAREST)
        sheet.paste(picture, (GAP + column * across, HEADER + row * down))
    return sheet
