"""HEIC: without the extra the message names it, and with it a picture is read as any other."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imageclf.images import kinds
from imageclf.images.decode import Unfit, decode
from tests.imports import ROOT

HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(99)
# Stands for the extra: a module of its name, which opens a PNG behind the head of a HEIC.
STAND_IN = """
import io
from PIL import Image

def register_heif_opener(**options):
    read = lambda file, name: Image.open(io.BytesIO(file.read()[28:]))
    Image.register_open("HEIF", read, lambda head: b"ftyp" in head)
"""
READ = """
import sys
from pathlib import Path
import numpy as np
from imageclf.images.decode import read_picture
np.save("pixels.npy", read_picture(Path(sys.argv[1]), size=(8, 8), channels=3).pixels)
"""


def test_without_the_extra_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "HAS_HEIC", False)
    monkeypatch.setattr("imageclf.images.decode.FORMATS", ("PNG",))
    with pytest.raises(Unfit) as fault:
        decode(HEIC, size=(8, 8), channels=3)
    assert fault.value.kind == "unsupported kind"
    assert f"{fault.value.found}; {fault.value.remedy}" == (
        "HEIC needs the extra pillow-heif; "
        "run pip install --require-hashes -r requirements-heic.lock, or save it as JPEG"
    )
    assert (ROOT / "requirements-heic.lock").exists()


def test_with_the_extra_a_damaged_file_is_no_reason_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "HAS_HEIC", True)
    monkeypatch.setattr("imageclf.images.decode.FORMATS", ("PNG",))
    with pytest.raises(Unfit, match="HEIC or AVIF, damaged"):
        decode(HEIC, size=(8, 8), channels=3)


def test_with_the_extra_a_picture_is_read(tmp_path: Path) -> None:
    (tmp_path / "pillow_heif.py").write_text(STAND_IN)
    content = io.BytesIO()
    Image.new("RGB", (30, 20), (200, 100, 50)).save(content, "PNG")
    (tmp_path / "a.heic").write_bytes(HEIC[:28] + content.getvalue())
    command = [sys.executable, "-c", READ, "a.heic"]
    subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": f"{tmp_path}:{ROOT}"}, check=True)
    assert (np.load(tmp_path / "pixels.npy") == (200, 100, 50)).all()


@pytest.mark.skipif(not kinds.HAS_HEIC, reason="pillow-heif is an extra")
def test_a_real_one_is_read() -> None:
    file = io.BytesIO()
    shown = Image.new("RGB", (64, 48), "black")
    shown.paste("white", (0, 0, 64, 24))
    shown.save(file, "HEIF", quality=100)
    picture = decode(file.getvalue(), size=(48, 48), channels=3)
    assert (picture.width, picture.height) == (64, 48)
    assert picture.pixels[:20].min() > 200 and picture.pixels[28:].max() < 50
