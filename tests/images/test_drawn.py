"""A picture that cannot be drawn becomes an empty one and a line."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from imageclf.images.grid import drawn


def test_what_is_drawn_comes_back_as_png(capsys: pytest.CaptureFixture[str]) -> None:
    content = drawn(Path("metrics/a.png"), lambda: Image.new("L", (3, 2), 7))
    assert Image.open(BytesIO(content)).getpixel((2, 1)) == 7
    assert capsys.readouterr().out == ""


ERRORS = {"disk": OSError("no\nfont"), "memory": MemoryError(), "long": ValueError(1000 * "long")}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_what_cannot_be_drawn_is_a_line_and_an_empty_picture(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw() -> Image.Image:
        raise error

    picture = Image.open(BytesIO(drawn(Path("metrics/a.png"), draw)))
    assert picture.getextrema() == ((255, 255),) * 3
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"metrics/a.png cannot be made ({type(error).__name__}: ")
    assert line.endswith("; the run goes on")
    assert len(line) < 400
