"""Random resized crop (arXiv:1409.4842, section 6): a part of an image, enlarged to the whole."""

import numpy as np
from PIL import Image

from stages.data.boxes import random_sides
from stages.data.chances import CROP_AREA, CROP_LEFT, CROP_SHAPE, CROP_TOP, Chances

STRETCH = 4 / 3  # at most, of width against height


def resized_crop(batch: np.ndarray, chances: Chances, smallest: float) -> np.ndarray:
    """uint8 (n, H, W, C) -> the same shape: of each image a part with at least the share `smallest` of its area.

    Pillow resizes in whole numbers, so its bytes do not depend on the processor.
    """
    _, height, width, _ = batch.shape
    area = 1 - (1 - smallest) * chances.shares(CROP_AREA)
    tall, wide = random_sides(area, chances.shares(CROP_SHAPE), STRETCH)
    top, left = (1 - tall) * chances.shares(CROP_TOP), (1 - wide) * chances.shares(CROP_LEFT)
    boxes = np.stack([left * width, top * height, (left + wide) * width, (top + tall) * height], axis=1)
    boxes = boxes.clip(0, [width, height, width, height])
    cropped = np.empty_like(batch)
    for image, box, target in zip(batch, boxes, cropped, strict=True):
        picture = Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image)
        resized = picture.resize((width, height), Image.Resampling.BILINEAR, tuple(box.tolist()))
        target[:] = np.asarray(resized).reshape(target.shape)
    return cropped
