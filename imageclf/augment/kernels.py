"""Loops over the pixels of a batch, compiled by numba: one pass where NumPy would need several. One thread each.

Images are uint8 (n, H, W, C), C contiguous. Every float32 operation is rounded by itself, so that on_device.py and any
processor give the same bytes.
"""

import numpy as np
from numba import njit

from imageclf.augment.transforms import LUMA

RED, GREEN, BLUE = (np.int32(part) for part in LUMA)
compiled = njit(cache=True, nogil=True, error_model="numpy")


@compiled
def mix_grey(images, own, grey, level):  # type: ignore[no-untyped-def]  # numba infers the types here and below
    """Set each image to own * itself + grey * its grey pixels + level * their mean; factors float64 (n,)."""
    count, height, width, channels = images.shape
    pixels = height * width
    thousandths = np.empty(pixels, np.float32)
    for image in range(count):
        flat = images[image].reshape(pixels * channels)
        total = np.int64(0)
        for pixel in range(pixels):
            if channels == 3:
                luma = RED * flat[3 * pixel] + GREEN * flat[3 * pixel + 1] + BLUE * flat[3 * pixel + 2]
            else:
                luma = np.int32(1000) * flat[channels * pixel]
            total += luma
            thousandths[pixel] = np.float32(luma)
        of_own, of_grey = np.float32(own[image]), np.float32(grey[image] / 1000)
        of_mean = np.float32(total / pixels * level[image] / 1000)
        for pixel in range(pixels):
            part = thousandths[pixel] * of_grey
            for channel in range(channels):
                value = np.float32(flat[channels * pixel + channel]) * of_own
                value = np.float32(value + part)
                value = np.float32(value + of_mean)
                value = min(max(np.rint(value), np.float32(0)), np.float32(255))
                flat[channels * pixel + channel] = np.uint8(value)


@compiled
def mirror(images, chosen):  # type: ignore[no-untyped-def]
    """Mirror the `chosen` images, bool (n,), left to right."""
    count, height, width, channels = images.shape
    for image in range(count):
        if chosen[image]:
            for y in range(height):
                for x in range(width // 2):
                    for channel in range(channels):
                        left, right = images[image, y, x, channel], images[image, y, width - 1 - x, channel]
                        images[image, y, x, channel], images[image, y, width - 1 - x, channel] = right, left
