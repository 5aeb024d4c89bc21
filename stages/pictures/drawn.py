"""Pictures as PNG; one that cannot be drawn is no reason for a run to end."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from stages.console.by_product import made


def drawn(path: Path, draw: Callable[[], Image.Image], **options: Any) -> bytes:
    """What `draw` draws for `path`, as PNG with Pillow's `options`; an empty picture, and a line, where it fails."""
    return made(path, lambda: _png(draw(), **options), instead=lambda _: _png(Image.new("RGB", (320, 40), "white")))


def _png(picture: Image.Image, **options: Any) -> bytes:
    file = BytesIO()
    picture.save(file, format="PNG", **options)
    return file.getvalue()
