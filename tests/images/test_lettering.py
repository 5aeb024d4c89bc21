"""Names of any script come out as letters that the font has, in the room that there is."""

import numpy as np
import pytest
from PIL import ImageFont

from imageclf.images.grid import drawable, fitted, wrapped

FONT = ImageFont.load_default(size=15)
WIDTH = 114


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("ant 3 (big)", "ant 3 (big)"),
        ("café", "cafe"),
        ("\u732b", "\\u732b"),
        ("cat \u732b", "cat \\u732b"),
        ("\U0001f41d", "\\U0001f41d"),
        ("two\nlines", "two\\nlines"),
        ("\ud800broken", "\\ud800broken"),
        ("…", "..."),
    ],
)
def test_what_the_font_lacks_is_escaped(name: str, drawn: str) -> None:
    assert drawable(name, FONT) == drawn


def test_no_letter_is_drawn_as_the_box_that_stands_for_none() -> None:
    box = FONT.getmask("\uffff")
    for name in ("\u732b", "\u0627\u0644\u0639", "\u03b1\u03b2", "\u0416", "\u2203"):
        for letter in drawable(name, FONT):
            assert not np.array_equal(np.array(FONT.getmask(letter)), np.array(box)), (name, letter)


def test_a_long_name_is_cut_with_an_ellipsis_and_a_short_one_is_not() -> None:
    assert fitted("cat", FONT, WIDTH) == "cat"
    cut = fitted("a very long name of a class " * 5, FONT, WIDTH)
    assert cut.endswith("…")
    assert FONT.getlength(cut) <= WIDTH


def test_a_path_that_is_too_long_keeps_the_files_name() -> None:
    cut = fitted("a very long name of a class/" * 5 + "0042.jpg", FONT, WIDTH, keep_end=True)
    assert cut.startswith("…") and cut.endswith("/0042.jpg")
    assert FONT.getlength(cut) <= WIDTH
    assert fitted("anything", FONT, 0, keep_end=True) == "…"


@pytest.mark.parametrize("name", ["a class of forty letters, which is usual", "onewordofthirtyletterswithoutspace", ""])
def test_a_wrapped_name_is_whole_and_each_line_fits(name: str) -> None:
    lines = wrapped(name, FONT, WIDTH, most=5, tail="  99.9 %")
    assert all(FONT.getlength(line) <= WIDTH for line in lines)
    assert "".join(lines).replace(" ", "") == name.replace(" ", "") + "99.9%"


def test_a_name_that_is_too_long_for_its_lines_is_cut_before_the_tail() -> None:
    lines = wrapped("a very long name of a class " * 9, FONT, WIDTH, most=3, tail="  99.9 %")
    assert len(lines) == 3
    assert lines[-1].endswith("…  99.9 %")
    assert all(FONT.getlength(line) <= WIDTH for line in lines)
