"""Every picture file becomes the pixels that its owner sees, or a sentence."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from imageclf.images.decode import read_picture
from imageclf.runtime.errors import DataError

RAMP = np.linspace(0, 255, 40 * 30 * 3).astype(np.uint8).reshape(30, 40, 3)
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def read(path: Path, *, size: tuple[int, int] = (8, 8), channels: int = 3) -> np.ndarray:
    return read_picture(path, size=size, channels=channels).pixels


def saved(folder: Path, picture: Image.Image, name: str = "picture.png", **options: object) -> Path:
    picture.save(folder / name, **options)  # type: ignore[arg-type]
    return folder / name


def colours(pixels: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in pixels.reshape(-1, pixels.shape[-1]).tolist()}


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.webp"])
def test_a_picture_of_the_right_size_comes_back_pixel_by_pixel(tmp_path: Path, name: str) -> None:
    options = {"lossless": True} if name.endswith("webp") else {}
    path = saved(tmp_path, Image.fromarray(RAMP), name, **options)
    assert (read(path, size=(30, 40)) == RAMP).all()


@pytest.mark.parametrize("name", ["a.jpg", "a.gif", "A.JPEG"])
def test_lossy_formats_are_read_too(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, Image.new("RGB", (16, 16), RED), name)
    assert np.abs(read(path).astype(int) - RED).max() < 3


def test_content_counts_and_not_the_name(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("RGB", (8, 8), RED), "picture.jpg", format="PNG")
    assert colours(read(path)) == {RED}


def test_the_middle_of_a_wide_picture_is_kept(tmp_path: Path) -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, :10], wide[:, 10:20], wide[:, 20:] = RED, GREEN, BLUE
    assert colours(read(saved(tmp_path, Image.fromarray(wide)), size=(10, 10))) == {GREEN}


def test_the_middle_of_a_tall_picture_is_kept_and_made_smaller(tmp_path: Path) -> None:
    tall = np.zeros((300, 100, 3), np.uint8)
    tall[:100], tall[100:200], tall[200:] = RED, GREEN, BLUE
    pixels = read(saved(tmp_path, Image.fromarray(tall)), size=(10, 10))
    assert colours(pixels[2:-2]) == {GREEN}  # at its border the filter sees some of the picture around it
    assert pixels[..., 1].min() > 200


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (7, 5)])
def test_odd_shapes_fill_the_size(tmp_path: Path, shape: tuple[int, int]) -> None:
    pixels = read(saved(tmp_path, Image.new("RGB", shape, BLUE)), size=(12, 20))
    assert pixels.shape == (12, 20, 3)
    assert colours(pixels) == {BLUE}


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "LA", "RGBA", "I;16"])
def test_white_is_white_in_every_mode(tmp_path: Path, mode: str) -> None:
    picture = Image.new("I;16", (8, 8), 65535) if mode == "I;16" else Image.new("RGB", (8, 8), WHITE).convert(mode)
    path = saved(tmp_path, picture, "white.tif")
    assert Image.open(path).mode == mode
    assert colours(read(path)) == {WHITE}
    assert colours(read(path, channels=1)) == {(255,)}


@pytest.mark.parametrize(
    ("stored", "shown"), [(0, 0), (257 * 100, 100), (257 * 100 + 128, 100), (65535, 255), (300, 1)]
)
def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path, stored: int, shown: int) -> None:
    picture = Image.fromarray(np.full((8, 8), stored, np.uint16))
    assert colours(read(saved(tmp_path, picture), channels=1)) == {(shown,)}


def test_sixteen_bits_of_either_byte_order_are_the_same(tmp_path: Path) -> None:
    # Pillow writes the order of this machine: write the big-endian TIFF by hand.
    entries = [(256, 8), (257, 8), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, 128)]
    pixels = struct.pack(">64H", *[257 * 100] * 64)
    directory = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in entries)
    header = b"MM\0*" + struct.pack(">I", 8 + len(pixels))
    path = tmp_path / "big.tif"
    path.write_bytes(header + pixels + struct.pack(">H", len(entries)) + directory + b"\0\0\0\0")
    assert Image.open(path).mode == "I;16B"
    assert colours(read(path)) == {(100, 100, 100)}


@pytest.mark.parametrize(("stored", "shown"), [(0, 0), (999, 0), (1000, 0), (2000, 128), (3000, 255), (65535, 255)])
def test_a_window_says_which_values_become_black_and_white(tmp_path: Path, stored: int, shown: int) -> None:
    path = saved(tmp_path, Image.fromarray(np.full((8, 8), stored, np.uint16)))
    pixels = read_picture(path, size=(8, 8), channels=1, window=[1000, 3000]).pixels
    assert np.abs(pixels.astype(int) - shown).max() <= 1


def test_a_window_leaves_pictures_of_8_bits_as_they_are(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(RAMP))
    assert (read_picture(path, size=(30, 40), channels=3, window=[0, 4095]).pixels == RAMP).all()


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"P6 2 1 255\n" + bytes([200, 100, 50, 200, 100, 50]), (200, 100, 50)),
        (b"P6\n# a comment\n2 1\n100\n" + bytes([80, 40, 20] * 2), (204, 102, 51)),
        (b"P6 2 1 65535\n" + struct.pack(">6H", *[51400, 25700, 12850] * 2), (200, 100, 50)),
        (b"P3\n2 1\n255\n200 100 50\n200 100 50\n", (200, 100, 50)),
        (b"P5 2 1 255\n" + bytes([200, 200]), (200, 200, 200)),
        (b"P2 2 1 15\n12 12\n", (204, 204, 204)),
        (b"P5 2 1 65535\n" + struct.pack(">2H", 51400, 51400), (200, 200, 200)),
        (b"P5 2 1 4095\n" + struct.pack(">2H", 4095, 4095), WHITE),
        (b"P2 2 1 4095\n2048 2048\n", (128, 128, 128)),
        (b"P4 2 1\n" + bytes([0b11000000]), (0, 0, 0)),
        (b"P1 2 1\n0 0\n", WHITE),
    ],
)
def test_ppm_pgm_and_pbm_are_scaled_by_their_own_largest_value(
    tmp_path: Path, content: bytes, shown: tuple[int, ...]
) -> None:
    (tmp_path / "sign").write_bytes(content)
    assert colours(read(tmp_path / "sign")) == {shown}


@pytest.mark.parametrize("compressed", [False, True])
def test_a_png_with_much_text_is_whole(tmp_path: Path, compressed: bool) -> None:
    text = PngImagePlugin.PngInfo()
    for number in range(3):
        text.add_text(f"workflow {number}", "0123456789abcdef" * 200_000, zip=compressed)
    picture = Image.fromarray(RAMP)
    profile = bytes(range(256)) * 10_000
    assert (read(saved(tmp_path, picture, pnginfo=text, icc_profile=profile), size=(30, 40)) == RAMP).all()


def test_a_png_with_text_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("bomb", "0" * 2_000_000, zip=True)
    path = saved(tmp_path, Image.fromarray(RAMP), pnginfo=text)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 1_000_000)
    with pytest.raises(DataError, match="bytes of text beside its pixels; save it without"):
        read(path)


def test_what_is_transparent_becomes_white(tmp_path: Path) -> None:
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    half.paste((255, 0, 0, 255), (0, 0, 8, 4))
    pixels = read(saved(tmp_path, half))
    assert colours(pixels[:4]) == {RED}
    assert colours(pixels[4:]) == {WHITE}


def test_a_transparent_colour_of_a_palette_becomes_white(tmp_path: Path) -> None:
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    assert colours(read(saved(tmp_path, palette, "p.gif", transparency=0))) == {WHITE}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_shown_upright(tmp_path: Path, orientation: int) -> None:
    upright = Image.fromarray(RAMP)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x112] = orientation
    assert (read(saved(tmp_path, stored, exif=exif), size=(30, 40)) == RAMP).all()


def test_an_unknown_exif_orientation_is_passed_over(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 99
    assert (read(saved(tmp_path, Image.fromarray(RAMP), exif=exif), size=(30, 40)) == RAMP).all()


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    assert colours(read(saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:]))) == {RED}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty; get a whole copy"),
        (b"I am no cat", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "not a picture"),
        (b"P6\n1 1\n255\n\0\0", "cannot be read"),
        (b"\x89PNG\r\n\x1a\n", "cannot be read|not a picture"),
    ],
    ids=["empty", "text", "svg", "postscript", "short ppm", "header only"],
)
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"cat\.jpg: ({sentence})"):
        read(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tiff", "a.webp"])
def test_a_truncated_picture_is_named(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), name)
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(DataError, match=rf"{name}: (cannot be read|not a picture)"):
        read(path)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Pillow's remarks on damaged TIFFs
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.tiff", "a.webp"])
def test_damage_of_any_kind_ends_in_pixels_or_a_sentence(tmp_path: Path, name: str) -> None:
    content = saved(tmp_path, Image.fromarray(RAMP), name).read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(content)
        for position in generator.integers(0, len(broken), 8):
            broken[position] = generator.integers(256)
        (tmp_path / name).write_bytes(broken)
        try:
            assert read(tmp_path / name).shape == (8, 8, 3)
        except DataError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("side", [8_000, 60_000])
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
    with pytest.raises(DataError, match="more than 50,000,000 pixels; make it smaller"):
        read(path)


def test_of_a_jpeg_the_pixels_that_are_decoded_count(tmp_path: Path) -> None:
    picture = Image.new("L", (12_000, 9_000), 200)  # 108 megapixels, as phones make them
    picture.paste(40, (0, 0, 6_000, 9_000))
    picture.save(tmp_path / "phone.jpg", quality=10)
    shown = read(tmp_path / "phone.jpg")
    assert abs(int(shown[4, 1, 0]) - 40) < 4 and abs(int(shown[4, 6, 0]) - 200) < 4
    # Of a progressive one all coefficients would be in memory: with this header it claims 64 megapixels.
    small = saved(tmp_path, Image.new("RGB", (16, 16)), "a.jpg", progressive=True).read_bytes()
    at = small.index(b"\xff\xc2") + 5
    (tmp_path / "progressive.jpg").write_bytes(small[:at] + struct.pack(">HH", 8_000, 8_000) + small[at + 4 :])
    with pytest.raises(DataError, match="8000x8000 is more than 50,000,000 pixels; make it smaller"):
        read(tmp_path / "progressive.jpg")


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_without_a_range_are_refused(tmp_path: Path, dtype: type) -> None:
    path = saved(tmp_path, Image.fromarray(np.ones((8, 8), dtype)), "a.tif")
    with pytest.raises(DataError, match="no agreed range; save it as RGB or grey, with 8 or 16 bits"):
        read(path)


@pytest.mark.parametrize("name", ["nothing.png", "folder.png", "n" * 5000])
def test_what_is_no_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DataError, match=f"{name}: (not there|cannot be read)"):
        read(tmp_path / name)


def test_a_huge_file_that_is_no_picture_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(10**10)

    def read_bytes(path: Path) -> bytes:
        raise AssertionError(f"all of {path} is read")

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with pytest.raises(DataError, match="not a picture but zero bytes alone"):
        read_picture(tmp_path / "huge.jpg", size=(8, 8), channels=3)
