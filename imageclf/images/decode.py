"""Decode one picture file to a classifier's input, identically in training and prediction."""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from imageclf.images.kinds import CAMERA_RAW, FIRST_BYTES, FORMATS, WHOLE, is_camera_raw, name_of
from imageclf.runtime.errors import DataError, printable

Box = tuple[float, float, float, float]  # left, upper, right, lower, in pixels
Shrink = Callable[[Image.Image, tuple[int, int], Box], np.ndarray]
LARGEST = 50_000_000  # pixels; four bytes each once decoded. Large JPEGs are decoded at a smaller scale
JPEG = b"\xff\xd8\xff"
LARGEST_TEXT = 256 * 2**20  # bytes of text and colour profile in a PNG, decompressed
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = LARGEST_TEXT  # Pillow's own are 1 MB and 64 MB
# The default of torchvision's Resize and of most of its weights; bicubic takes 1.5 times as long.
FILTER = Image.Resampling.BILINEAR
RULE = (
    "upright by EXIF, first frame, transparency over white, 16 bits to 8 (grey by the classifier's window, if it has "
    "one), {fitted} by Pillow's " + FILTER.name.lower() + " filter, large JPEGs from the smallest of the scales 1/8, "
    "1/4, 1/2 that is no smaller"
)
FITS = {
    "crop": "cut to the middle of the right shape and resized",
    "pad": "resized as a whole and padded to the right shape with grey",
    "stretch": "resized as a whole to the right shape, whatever its own",
}
GREY = 128  # of the padding: near the mean of photographs, so that it says least to a network
# Unambiguous modes. 32-bit, float and LAB pixels have no standard range.
MODES = {"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LA", "PA", "RGBA", "I;16", "I;16L", "I;16B"}
SIXTEEN_BITS = 65535  # the largest value of 16 bits
OUTLIERS = 0.001  # fraction of the pixels at either end that the range of values ignores
ORIENTATION = 0x112  # its tag in EXIF
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF; two of their values:
WHITE_IS_ZERO, SIGNED = 0, 2
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = {UPRIGHT[orientation] for orientation in (5, 6, 7, 8)}
GAP = 2.0  # Pillow's reducing_gap: first shrink a much larger picture to twice the size, by a box filter


@dataclass(frozen=True)
class Picture:
    """The pixels, uint8 (H, W, C), and facts about the file."""

    pixels: np.ndarray
    shown: np.ndarray  # the part of `pixels` that is not padding
    width: int  # of the whole picture, upright
    height: int
    mode: str  # Pillow's mode
    several: bool  # animated, or with several pages
    odd_exif: bool  # damaged EXIF, or an invalid orientation
    values: tuple[int, int] | None  # the range of stored values without outliers; None: not 16-bit grey
    sketch: np.ndarray | None  # uint8 (n, n), grey: the whole, stretched; None: not asked for


class Unfit(Exception):
    """A file that is not a usable picture: the kind of fault, what was found, what to do."""

    def __init__(self, kind: str, found: str, remedy: str) -> None:
        super().__init__(kind, found, remedy)
        self.kind, self.found, self.remedy = kind, found, remedy


def rule(fit: str) -> str:
    """The preprocessing of pictures of any size and format, in words; `fit` is prepare.fit."""
    return RULE.format(fitted=FITS[fit])


def read_picture(
    path: Path, *, size: tuple[int, int], channels: int, fit: str = "crop", window: Sequence[int] | None = None
) -> Picture:
    """Read a picture file as uint8 (H, W, C): `size` is (H, W), `channels` 3 for RGB or 1 for grey.

    For `fit` and `window` see `decode`.

    Raises:
        DataError: the file is missing, not a picture, damaged, too large, or of an unsupported kind.
    """
    name = printable(path)
    try:
        if not path.is_file():  # reading a pipe or a device may block
            raise DataError(f"{name}: not there, or not a file; check the path")
        if path.stat().st_size > LARGE_FILE:
            _check_head(path)
        return decode(path.read_bytes(), size=size, channels=channels, fit=fit, window=window)
    except Unfit as fault:
        raise DataError(f"{name}: {fault.found}; {fault.remedy}") from None
    except PermissionError:
        raise DataError(f"{name}: may not be read; change its permissions") from None
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror or error}); check the path") from None


LARGE_FILE = 2**26  # bytes: such a file is read whole only if its head is that of a picture


def _check_head(path: Path) -> None:
    try:
        Image.open(path, formats=FORMATS).close()
    except UnidentifiedImageError:
        with path.open("rb") as file:
            raise Unfit(*name_of(file.read(FIRST_BYTES), read=", ".join(FORMATS))) from None
    except Exception:  # decode tells what is wrong with it
        return


def decode(
    content: bytes,
    *,
    size: tuple[int, int],
    channels: int,
    fit: str = "crop",
    window: Sequence[int] | None = None,
    shrink: Shrink | None = None,
    sketch: int | None = None,
) -> Picture:
    """Decode a file's bytes to uint8 (H, W, C), where `size` is (H, W) and `channels` 3 or 1.

    `fit` is crop: resize the largest central part with the aspect ratio of `size`; pad: resize the whole, and fill up
    with grey; or stretch: resize the whole to `size`. An 8-bit picture of this size is returned unchanged. `window` has
    the values of 16-bit grey pictures that become black and white; None: 0 and 65535. `shrink` resizes an RGB picture
    as Pillow does, but faster. `sketch` is the side of the sketch, if one is wanted.

    Raises:
        Unfit: the content is empty, not a picture, damaged, too large, or of an unsupported kind.
    """
    if not content:
        raise Unfit("empty", "empty", WHOLE)
    try:
        with _opened(content) as picture:
            _check_kind(picture, content)
            width, height, mode = *picture.size, picture.mode
            drafted = picture.draft(None, (max(size), max(size)))  # JPEG only: decode at the smallest sufficient scale
            # A progressive JPEG has all its coefficients in memory, at whatever scale.
            _check_size((width, height) if "progressive" in picture.info else picture.size, (width, height))
            picture.load()
            turn, odd_exif = _turn(picture)
            if turn in SIDEWAYS:
                width, height = height, width
            # A reduced JPEG ends between two pixels; draft returns the exact box.
            whole = drafted[1][2:] if drafted else picture.size
            values = _values(picture) if picture.mode.startswith("I") else None
            across, box = _fitting(fit, whole, size if turn in SIDEWAYS else size[::-1])
            plain = _eight_bits(picture, window)
            upright = _turned(_resized(plain, across, box, "RGB" if channels == 3 else "L", shrink), turn)
            small = _turned(_sketch(plain, whole, sketch), turn) if sketch else None
            several = picture.format != "JPEG" and _has_several(content)
    except Unfit:
        raise
    except UnidentifiedImageError:
        raise Unfit(*name_of(content, read=", ".join(FORMATS))) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unfit("too large", f"more than {LARGEST:,} pixels", "make it smaller") from None
    except Exception as error:  # Pillow's decoders raise any exception on damaged files
        if "MAX_TEXT" in str(error):
            found = f"more than {LARGEST_TEXT:,} bytes of text beside its pixels"
            raise Unfit("too large", found, "save it without") from None
        raise damaged(str(error) or type(error).__name__) from None
    pixels, shown = _padded(upright.reshape(*upright.shape[:2], channels), size)
    return Picture(pixels, shown, width, height, mode, several, odd_exif, values, small)


def damaged(words: str) -> Unfit:
    """The fault for a decoder's error message."""
    # Pillow says "image file is truncated", "unexpected end of file", "Truncated File Read", "buffer is not large".
    short = any(word in words.lower() for word in ("truncated", "end of file", "eof", "not enough", "incomplete"))
    return Unfit("truncated" if short else "damaged", f"cannot be read ({words})", WHOLE)


def _opened(content: bytes) -> Image.Image:
    if not content.startswith(JPEG):
        return Image.open(io.BytesIO(content), formats=FORMATS)
    try:
        return JpegImagePlugin.jpeg_factory(io.BytesIO(content))  # Image.open counts pixels that draft skips
    except SyntaxError:
        raise UnidentifiedImageError from None


def _check_size(decoded: tuple[int, int], whole: tuple[int, int]) -> None:
    """Refuse a picture of (width, height) `whole` that has too many pixels once decoded."""
    if math.prod(decoded) > LARGEST:
        raise Unfit("too large", f"{whole[0]}x{whole[1]} is more than {LARGEST:,} pixels", "make it smaller")


def _check_kind(picture: Image.Image, content: bytes) -> None:
    """Refuse a file by its header, before decoding."""
    if is_camera_raw(content):
        raise Unfit(*CAMERA_RAW)
    # Pillow scales a PGM of more than 8 bits to 65535, in mode I.
    if picture.mode not in MODES and (picture.format, picture.mode) != ("PPM", "I"):
        found = f"pixels of the kind {picture.mode} have no agreed range"
        raise Unfit("unsupported kind", found, "save it as RGB or grey, with 8 or 16 bits")
    strange = _misread(picture)
    if strange:
        raise Unfit("unsupported kind", f"{strange} decodes incorrectly", "save it with 8 bits")


def _misread(picture: Image.Image) -> str:
    """The pixel format that Pillow silently decodes incorrectly; empty if none. Found by trying all its plugins."""
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        bits, zero, kinds = (picture.tag_v2.get(tag) for tag in (BITS, PHOTOMETRIC, SAMPLE_FORMAT))
        if picture.mode.startswith("I;16") and bits != (16,):
            return "grey of 12 bits"
        if picture.mode.startswith("I;16") and zero == WHITE_IS_ZERO:
            return "16 bits with white as zero"
        if kinds and SIGNED in kinds:
            return "signed pixels"
    if isinstance(picture, PngImagePlugin.PngImageFile) and "transparency" in picture.info:
        packing = picture.tile[0][3]  # the raw mode; Pillow does not scale the transparent grey with the pixels
        if packing in ("L;2", "L;4", "I;16B"):
            return "a transparent grey of other than 8 bits"
    return ""


def _turn(picture: Image.Image) -> tuple[Image.Transpose | None, bool]:
    """The transposition that EXIF asks for, and whether EXIF is invalid: then the picture stays as it is."""
    try:
        orientation = picture.getexif().get(ORIENTATION, 1)
        return UPRIGHT.get(orientation), orientation not in (1, *UPRIGHT)
    except Exception:  # damaged EXIF; the pixels are intact
        return None, True


def _values(picture: Image.Image) -> tuple[int, int]:
    """The smallest and largest value of 16-bit grey, without outliers such as dead pixels."""
    seen = np.bincount(np.asarray(picture).ravel()).cumsum()
    low, high = np.searchsorted(seen, (OUTLIERS * seen[-1], (1 - OUTLIERS) * seen[-1]))
    return int(low), int(high)


def _eight_bits(picture: Image.Image, window: Sequence[int] | None) -> Image.Image:
    """Convert every accepted mode to L or RGB."""
    if picture.mode.startswith("I"):
        # Pillow itself clips at 255.
        low, high = window or (0, SIXTEEN_BITS)
        values = np.asarray(picture).astype(np.int32).clip(low, high) - low
        return Image.fromarray(((values * 255 + (high - low) // 2) // (high - low)).astype(np.uint8))
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    if picture.mode == "1":
        return picture.convert("L")
    return picture if picture.mode in ("L", "RGB") else picture.convert("RGB")


def _fitting(fit: str, whole: tuple[float, float], size: tuple[int, int]) -> tuple[tuple[int, int], Box]:
    """The (width, height) to resize to, and the part of the picture to resize; `size` and `whole` are such too.

    `whole` is the picture's exact size.
    """
    if fit == "stretch":
        return size, (0, 0, *whole)
    if fit == "pad":
        scale = min(size[0] / whole[0], size[1] / whole[1])
        return (max(1, round(scale * whole[0])), max(1, round(scale * whole[1]))), (0, 0, *whole)
    scale = min(whole[0] / size[0], whole[1] / size[1])
    across, down = min(scale * size[0], whole[0]), min(scale * size[1], whole[1])
    left, top = (whole[0] - across) / 2, (whole[1] - down) / 2
    return size, (left, top, left + across, top + down)


def _resized(picture: Image.Image, size: tuple[int, int], box: Box, mode: str, shrink: Shrink | None) -> np.ndarray:
    """What `box` cuts from a picture, resized to `size` (width, height): uint8 (H, W, 3), or (H, W) for mode L."""
    reduces = max((box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1]) >= 2 * GAP
    if shrink and picture.mode == mode == "RGB" and picture.size != size and not reduces:
        return shrink(picture, size, box)
    resized = picture.resize(size, FILTER, box, reducing_gap=GAP)
    return np.asarray(resized if resized.mode == mode else resized.convert(mode))


def _sketch(picture: Image.Image, whole: tuple[float, float], side: int) -> np.ndarray:
    grey = picture.convert("L")  # first, as this leaves a third of the numbers to resize
    return _resized(grey, (side, side), (0, 0, *whole), "L", None)


def _turned(pixels: np.ndarray, turn: Image.Transpose | None) -> np.ndarray:
    return pixels if turn is None else np.asarray(Image.fromarray(pixels).transpose(turn))


def _padded(pixels: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (h, w, C) in the middle of grey (H, W, C), and the part of the result that it is."""
    height, width, channels = pixels.shape
    if (height, width) == size:
        return pixels, pixels
    canvas = np.full((*size, channels), GREY, np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    shown = canvas[top : top + height, left : left + width]
    shown[:] = pixels
    return canvas, shown


def _has_several(content: bytes) -> bool:
    """Whether there are more frames. Opens the file again, so that a damaged second frame does no harm."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            return bool(getattr(picture, "is_animated", False))
    except Exception:
        return False
