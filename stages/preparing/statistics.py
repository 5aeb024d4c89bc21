"""Mean and standard deviation of each channel, from exact integer sums."""

import math

import numpy as np
from PIL import Image


def count_values(images: np.ndarray) -> np.ndarray:
    """How often each of the 256 values stands in each channel of uint8 (N, H, W, C), int64 (C, 256).

    Counts add up: neither the order nor the chunks in which images come can change a digit.
    """
    channels = images.shape[3]
    pixels = images.reshape(-1, images.shape[2], channels)  # one tall picture
    picture = Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])
    return np.asarray(picture.histogram(), np.int64).reshape(channels, 256)


def mean_and_std(counts: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and std of each channel on the scale 0 to 1, rounded to 8 digits, from the counts (C, 256) of values."""
    mean, std = [], []
    for histogram in counts.tolist():
        number = sum(histogram)
        total = sum(value * count for value, count in enumerate(histogram))
        squares = sum(value * value * count for value, count in enumerate(histogram))
        mean.append(round(total / number / 255, 8))
        std.append(round(math.sqrt(number * squares - total * total) / number / 255, 8))
    return mean, std
