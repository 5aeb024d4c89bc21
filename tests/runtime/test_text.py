"""Names from outside stay on their line."""

from imageclf.runtime.errors import printable


def test_letters_of_every_script_stay() -> None:
    assert printable("é ö 猫 🐈 mid\u200cdle") == "é ö 猫 🐈 mid\u200cdle"


def test_what_would_reverse_the_order_becomes_an_escape() -> None:
    assert printable("\u202egpj.exe \u2067a") == r"\u202egpj.exe \u2067a"
    assert printable("\u05d0\u200f.jpg") == "\u05d0\u200f.jpg"  # Hebrew, with a mark that belongs to it


def test_what_would_move_the_cursor_or_cannot_be_written_becomes_an_escape() -> None:
    assert printable("a\nb\x1b[2J\x7f\u2028\udcff") == r"a\nb\x1b[2J\x7f\u2028\udcff"
