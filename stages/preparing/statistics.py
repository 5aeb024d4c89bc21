"""Mean and standard deviation of each channel, from exact integer sums."""

import math

import numpy as np
from PIL import Image

CHUNK = 1000  # images; keeps memory flat


def channel_statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and std of each channel of uint8 (N, H, W, C), on the scale 0 to 1, rounded to 8 digits.

    Summed as counts of the 256 values, so neither the order nor the chunks can change a digit.
    """
    channels = images.shape[3]
    counts = np.zeros((channels, 256), np.int64)
    for begin in range(0, len(images), CHUNK):
        chunk = images[begin : begin + CHUNK]
        pixels = chunk.reshape(-1, chunk.shape[2], channels)  # one tall picture
        picture = Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])
        counts += np.asarray(picture.histogram()).reshape(channels, 256)
    mean, std = [], []
    for histogram in counts.tolist():
        number = sum(histogram)
        total = sum(value * count for value, count in enumerate(histogram))
        squares = sum(value * value * count for value, count in enumerate(histogram))
        mean.append(round(total / number / 255, 8))
        std.append(round(math.sqrt(number * squares - total * total) / number / 255, 8))
    return mean, std
