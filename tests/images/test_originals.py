"""Original files at a size to look at: the whole picture, and the part that was prepared."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imageclf.images.manifest import places_of
from imageclf.images.originals import read_original
from imageclf.runtime.errors import DataError

STRIPES = np.repeat(np.array([10, 200, 90], np.uint8), 100)[None, :, None].repeat(100, 0).repeat(3, 2)  # (100, 300, 3)


def saved(folder: Path, pixels: np.ndarray) -> Path:
    path = folder / "picture.png"
    Image.fromarray(pixels).save(path)
    return path


def test_of_a_wide_picture_the_whole_and_the_cut_are_shown(tmp_path: Path) -> None:
    original = read_original(saved(tmp_path, STRIPES), side=60, channels=3, fit="crop")
    assert original.whole.shape == (20, 60, 3)
    assert original.whole[10, [5, 30, 55], 0].tolist() == [10, 200, 90]
    assert original.seen.shape == (60, 60, 3)
    assert (original.seen[:, 2:-2] == 200).all()


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_a_small_picture_keeps_its_pixels(tmp_path: Path, fit: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3)).astype(np.uint8)
    original = read_original(saved(tmp_path, pixels), side=192, channels=3, fit=fit)
    assert (original.whole == pixels).all() and (original.seen == pixels).all()


def test_a_file_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png: not there"):
        read_original(tmp_path / "gone.png", side=60, channels=3, fit="crop")


def test_the_place_of_a_file_is_found_by_its_path_in_reports(tmp_path: Path) -> None:
    rows = ["0,ant/1.png,ant,,,1,ab", '1,"ant/two\nlines.png",ant,,,1,cd', "1,bee/3.png,bee,,,1,ef"]
    table = "\n".join(["root,path,label,split,group,bytes,sha256", *rows, ""])
    (tmp_path / "files.csv").write_text(table, newline="")
    found = places_of(tmp_path, ["a/first", "b/second"], {"first/ant/1.png", "second/ant/two\\nlines.png"})
    assert found == {
        "first/ant/1.png": "a/first/ant/1.png",
        "second/ant/two\\nlines.png": "b/second/ant/two\nlines.png",
    }
