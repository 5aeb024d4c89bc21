"""One picture file as the pixels that a classifier takes."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from stages.console.errors import DataError
from stages.console.text import printable

# What Pillow reads without starting other programs, and what people have.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
LARGEST = 50_000_000  # pixels; four bytes each when decoded
RULE = (
    "upright by EXIF, first frame, transparency over white, 16 bits to 8, cut to the middle of the right shape and "
    "resized by Pillow's bicubic filter"
)
# Modes with one meaning. 32-bit, float and LAB pixels have no range of their own.
MODES = {"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LA", "PA", "RGBA", "I;16", "I;16L", "I;16B"}


def read_picture(path: Path, *, size: tuple[int, int], channels: int) -> np.ndarray:
    """A picture of any size as uint8 (H, W, C), where `size` is (H, W) and `channels` 3 for RGB or 1 for grey.

    The largest part in the middle that has the shape of `size` is kept, and resized. What is there already is not
    touched: an 8-bit picture of the right size comes back pixel by pixel.

    Raises:
        DataError: no such file, not a picture, damaged, too large, or of a kind without a rule.
    """
    name = printable(path)
    picture = _decode(path, name)
    height, width = size
    fitted = ImageOps.fit(_eight_bits(picture), (width, height), Image.Resampling.BICUBIC)
    return np.asarray(fitted.convert("RGB" if channels == 3 else "L")).reshape(height, width, channels)


def _decode(path: Path, name: str) -> Image.Image:
    try:
        if not path.is_file():  # a pipe or a device would keep us waiting
            raise DataError(f"{name}: not there, or not a file; check the path")
        if path.stat().st_size == 0:
            raise DataError(f"{name}: empty; get a whole copy")
        with Image.open(path, formats=FORMATS) as picture:
            _check(picture, name)
            return ImageOps.exif_transpose(picture)
    except DataError:
        raise
    except PermissionError:
        raise DataError(f"{name}: may not be read; change its permissions") from None
    except UnidentifiedImageError:
        raise DataError(
            f"{name}: not a picture ({', '.join(FORMATS)} can be read); take it out or convert it"
        ) from None
    except Image.DecompressionBombError:
        raise DataError(f"{name}: more than {LARGEST:,} pixels; make it smaller") from None
    except Exception as error:  # Pillow's decoders raise whatever they stumble over in a damaged file
        raise DataError(f"{name}: cannot be read ({str(error) or type(error).__name__}); get a whole copy") from None


def _check(picture: Image.Image, name: str) -> None:
    """Refuse by the header, before a pixel is decoded."""
    if picture.width * picture.height > LARGEST:
        raise DataError(f"{name}: {picture.width}x{picture.height} is more than {LARGEST:,} pixels; make it smaller")
    if picture.mode not in MODES:
        raise DataError(f"{name}: pixels of the kind {picture.mode} have no agreed range; save it with 8 or 16 bits")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """RGB, from every mode that is let in."""
    if picture.mode.startswith("I;16"):
        # 65535 is 257 times 255; Pillow itself would cut off all above 255.
        values = np.asarray(picture).astype(np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")
