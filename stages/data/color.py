"""Random brightness, contrast and saturation."""

import numpy as np

from stages.data.chances import BRIGHTNESS, CONTRAST, SATURATION, Chances

LUMA = (299, 587, 114)  # thousandths of red, green and blue in grey (ITU-R BT.601)
CHUNK_PIXELS = 64 * 1024  # worked on at once: few enough for a core's cache


def jitter_color(batch: np.ndarray, chances: Chances, strength: float) -> None:
    """Change uint8 (n, H, W, C), each image by factors from 1 - `strength` to 1 + `strength`.

    All three are linear, so they are done at once and rounded once; grey images have no saturation.
    """
    bright, contrast, colorful = (
        1 + strength * (2 * chances.shares(stream) - 1) for stream in (BRIGHTNESS, CONTRAST, SATURATION)
    )
    own = bright * contrast * colorful  # of a pixel's own value,
    grey = bright * contrast * (1 - colorful)  # of its grey,
    level = bright * (1 - contrast)  # and of the image's mean grey
    size = max(1, CHUNK_PIXELS // (batch.shape[1] * batch.shape[2]))
    for begin in range(0, len(batch), size):
        part = slice(begin, begin + size)
        _mix_grey(batch[part], *(factor[part, None, None, None] for factor in (own, grey, level)))


def _mix_grey(images: np.ndarray, own: np.ndarray, grey: np.ndarray, level: np.ndarray) -> None:
    """Set each image to own * itself + grey * its grey pixels + level * their mean; factors (n, 1, 1, 1)."""
    greys = _luma(images)  # whole thousandths, so that no order of adding changes the mean
    mean = greys.sum((1, 2, 3), dtype=np.int64, keepdims=True) / greys[0].size
    changed = images * own.astype(np.float32)
    changed += greys * (grey / 1000).astype(np.float32)
    changed += (mean * level / 1000).astype(np.float32)
    images[:] = np.rint(changed, out=changed).clip(0, 255)


def _luma(images: np.ndarray) -> np.ndarray:
    """Grey (n, H, W, 1) in thousandths, int32."""
    if images.shape[3] != len(LUMA):
        return 1000 * images[..., :1].astype(np.int32)
    red, green, blue = (weight * images[..., [channel]].astype(np.int32) for channel, weight in enumerate(LUMA))
    return red + green + blue
