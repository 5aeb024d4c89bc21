"""Files of many kinds as people's folders have them, each with what must become of it."""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIZE = (40, 30)
COLOR = (200, 100, 50)
FAULTY = frozenset({"damaged", "truncated"})


@dataclass(frozen=True)
class Sample:
    """A file, and the mean colour that it shows or the kinds of fault of which it has one."""

    name: str
    content: bytes
    mean: tuple[int, int, int] | None = None
    faults: frozenset[str] = frozenset()
    oddities: tuple[str, ...] = ()
    tolerance: int = 1


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def plain(mode: str = "RGB", color: object = COLOR, size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.new(mode, size, color)  # type: ignore[arg-type]


def noise(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (30, 40, 3)).astype(np.uint8))


def corpus() -> list[Sample]:
    return [*_kinds(), *_modes(), *_frames(), *_exif(), *_sizes(), *_other_files(), *_broken()]


def _kinds() -> Iterator[Sample]:
    for kind in ("PNG", "BMP", "TIFF"):
        yield Sample(f"a.{kind.lower()}", saved(plain(), kind), COLOR)
    for kind in ("JPEG", "WEBP", "GIF"):
        yield Sample(f"b.{kind.lower()}", saved(plain(), kind), COLOR, tolerance=4)
    png, jpeg = saved(plain(), "PNG"), saved(plain(), "JPEG")
    for name in ("png named.jpg", "no extension", "a.jfif", "UPPER.JPG", "a.tar.gz", "=1+1.png", "ünï 'quoted'.png"):
        yield Sample(name, png, COLOR)
    yield Sample("progressive.jpg", saved(plain(), "JPEG", progressive=True), COLOR, tolerance=4)
    yield Sample("444.jpg", saved(plain(), "JPEG", subsampling=0, quality=95), COLOR, tolerance=4)
    yield Sample("quality 1.jpg", saved(plain(), "JPEG", quality=1), COLOR, tolerance=40)
    yield Sample("large.jpg", saved(plain(size=(3000, 2000)), "JPEG"), COLOR, tolerance=4)
    yield Sample("more behind.jpg", jpeg + b"trailing" * 99, COLOR, tolerance=4)
    yield Sample("lossless.webp", saved(plain(), "WEBP", lossless=True), COLOR)
    for packing in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield Sample(f"{packing}.tif", saved(plain(), "TIFF", compression=packing), COLOR)
    yield Sample("a.ppm", saved(plain(), "PPM"), COLOR)
    yield Sample("a.pgm", saved(plain("L", 120), "PPM"), (120, 120, 120))
    yield Sample("a.pbm", saved(plain("1", 1), "PPM"), (255, 255, 255))
    yield Sample("12 bits.pgm", b"P5 9 9 4095\n" + struct.pack(">H", 2048) * 81, (128, 128, 128))
    yield Sample("ascii.ppm", b"P3\n# signs\n9 9\n255\n" + b"200 100 50\n" * 81, COLOR)


def _modes() -> Iterator[Sample]:
    white, grey = (255, 255, 255), (120, 120, 120)
    yield Sample("L.png", saved(plain("L", 120), "PNG"), grey)
    yield Sample("L.jpg", saved(plain("L", 120), "JPEG"), grey, tolerance=2)
    yield Sample("L.gif", saved(plain("L", 120), "GIF"), grey)
    yield Sample("1.png", saved(plain("1", 1), "PNG"), white)
    yield Sample("1.bmp", saved(plain("1", 0), "BMP"), (0, 0, 0))
    yield Sample("1.tif", saved(plain("1", 1), "TIFF"), white)
    palette = plain().quantize(4)
    yield Sample("P.png", saved(palette, "PNG"), COLOR, tolerance=4)
    yield Sample("P.bmp", saved(palette, "BMP"), COLOR, tolerance=4)
    yield Sample("P through.png", saved(palette, "PNG", transparency=palette.getpixel((0, 0))), white)
    yield Sample("LA.png", saved(plain("LA", (0, 0)), "PNG"), white)
    yield Sample("RGBA through.png", saved(plain("RGBA", (*COLOR, 0)), "PNG"), white)
    yield Sample("RGBA half.png", saved(plain("RGBA", (*COLOR, 128)), "PNG"), (227, 177, 152))
    yield Sample("RGBA.webp", saved(plain("RGBA", (*COLOR, 0)), "WEBP"), white)
    yield Sample("RGBA.tif", saved(plain("RGBA", (*COLOR, 255)), "TIFF"), COLOR)
    yield Sample("I16.png", saved(plain("I;16", 51400), "PNG"), (200, 200, 200))
    yield Sample("I16.tif", saved(plain("I;16", 257), "TIFF"), (1, 1, 1))
    yield Sample("CMYK.jpg", saved(plain("CMYK", (0, 0, 0, 0)), "JPEG"), white, tolerance=2)
    yield Sample("CMYK.tif", saved(plain("CMYK", (0, 255, 0, 0)), "TIFF"), (255, 0, 255))
    yield Sample("YCbCr.tif", saved(plain().convert("YCbCr"), "TIFF"), COLOR, tolerance=3)
    unsupported = frozenset({"unsupported kind"})
    yield Sample("F.tif", saved(plain("F", 0.5), "TIFF"), faults=unsupported)
    yield Sample("I.tif", saved(plain("I", 70000), "TIFF"), faults=unsupported)
    yield Sample("LAB.tif", saved(plain("LAB", (1, 2, 3)), "TIFF"), faults=unsupported)
    yield from _modes_by_hand()


def _modes_by_hand() -> Iterator[Sample]:
    """What Pillow reads and does not write; some of it wrongly, and that is refused."""
    grey, white, unsupported = (200, 200, 200), (255, 255, 255), frozenset({"unsupported kind"})
    sixteen = struct.pack("<H", 51400) * 64
    yield Sample("16 bits.tif", tiff(sixteen, bits=16), grey)
    yield Sample("16 bits big-endian.tif", tiff(struct.pack(">H", 51400) * 64, bits=16, order=">"), grey)
    yield Sample("8 bits, white is 0.tif", tiff(bytes([55]) * 64, bits=8, photometric=0), grey)
    yield Sample("1 bit, white is 0.tif", tiff(bytes(8), bits=1, photometric=0), white)
    yield Sample("16 bits, white is 0.tif", tiff(sixteen, bits=16, photometric=0), faults=unsupported)
    yield Sample("12 bits.tif", tiff(bytes([0xC8]) * 96, bits=12), faults=unsupported)
    yield Sample("signed.tif", tiff(bytes([200]) * 64, bits=8, kind=2), faults=unsupported)
    yield Sample("2 bits.png", png(b"\xff\xff", bits=2), white)
    yield Sample("4 bits.png", png(b"\xff\xff\xff\xff", bits=4), white)
    yield Sample("48 bits.png", png(struct.pack(">3H", 51400, 25700, 12850) * 8, bits=16, color=2), COLOR)
    yield Sample("16 bits with alpha.png", png(struct.pack(">2H", 51400, 0) * 8, bits=16, color=4), white)
    yield Sample("8 bits, one through.png", png(b"\x20" * 8, bits=8, through=32), white)
    yield Sample("2 bits, one through.png", png(b"\xaa\xaa", bits=2, through=2), faults=unsupported)
    yield Sample("16 bits, one through.png", png(b"\0\x20" * 8, bits=16, through=32), faults=unsupported)


def tiff(pixels: bytes, *, bits: int, photometric: int = 1, kind: int = 1, order: str = "<") -> bytes:
    """A grey TIFF of 8x8 pixels."""
    tags = {256: 8, 257: 8, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 8, 279: len(pixels), 339: kind}
    directory = b"".join(struct.pack(order + "HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(pixels))
    return header + pixels + struct.pack(order + "H", len(tags)) + directory + bytes(4)


def png(row: bytes, *, bits: int, color: int = 0, through: int | None = None) -> bytes:
    """A PNG of eight equal rows of eight pixels, of which those of the value `through` are transparent."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, bits, color, 0, 0, 0))
    transparent = b"" if through is None else chunk(b"tRNS", struct.pack(">H", through))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + row) * 8))
    return b"\x89PNG\r\n\x1a\n" + head + transparent + pixels + chunk(b"IEND", b"")


def _frames() -> Iterator[Sample]:
    rest = [plain(color=(0, 0, 0))]
    for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})):
        content = saved(plain(), kind, save_all=True, append_images=rest, **options)
        yield Sample(f"animated.{kind.lower()}", content, COLOR, oddities=("several frames",), tolerance=4)


def _exif() -> Iterator[Sample]:
    for orientation, odd in [(0, True), (1, False), (6, False), (99, True)]:
        exif = Image.Exif()
        exif[0x112] = orientation
        yield Sample(
            f"turned {orientation}.png",
            saved(plain(), "PNG", exif=exif),
            COLOR,
            oddities=("odd EXIF",) if odd else (),
        )


def _sizes() -> Iterator[Sample]:
    yield Sample("1x1.png", saved(plain(size=(1, 1)), "PNG"), faults=frozenset({"tiny"}))
    yield Sample("4000x1.png", saved(plain(size=(4000, 1)), "PNG"), faults=frozenset({"tiny"}))
    yield Sample("7x100.png", saved(plain(size=(7, 100)), "PNG"), faults=frozenset({"tiny"}))
    yield Sample("8x8.png", saved(plain(size=(8, 8)), "PNG"), COLOR)
    yield Sample("8x160.png", saved(plain(size=(8, 160)), "PNG"), COLOR)
    yield Sample("8x161.png", saved(plain(size=(8, 161)), "PNG"), faults=frozenset({"long and thin"}))
    bomb = saved(Image.new("1", (10_000, 9_000)), "PNG")
    yield Sample("bomb.png", bomb, faults=frozenset({"too large"}))


def _other_files() -> Iterator[Sample]:
    contents = {
        "empty.jpg": (b"", "empty"),
        "text.jpg": (b"not a picture", "not a picture"),
        "page.jpg": (b"<!doctype html><title>404</title>", "not a picture"),
        "drawing.svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not a picture"),
        "facts.json": (b"{}", "not a picture"),
        "paper.pdf": (b"%PDF-1.7\n", "not a picture"),
        "evil.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        "archive.png": (b"PK\x03\x04" + bytes(99), "not a picture"),
        "pickle.png": (b"\x80\x04cposix\nsystem\n", "not a picture"),
        "program.png": (b"\x7fELF" + bytes(99), "not a picture"),
        "zeros.png": (bytes(5000), "not a picture"),
        "pointer.jpg": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer"),
        "scan.dcm": (bytes(128) + b"DICM\2\0\0\0UL", "unsupported kind"),
        "float.pfm": (b"Pf\n8 8\n-1.0\n" + bytes(256), "unsupported kind"),
        "layers.jpg": (b"8BPS\0\1" + bytes(99), "unsupported kind"),
        "favicon.ico": (b"\0\0\1\0" + bytes(99), "unsupported kind"),
        "a.jxl": (b"\xff\x0a" + bytes(99), "unsupported kind"),
        "a.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99), "unsupported kind"),
        "a.heic": (b"\0\0\0\x18ftypheic" + bytes(99), "unsupported kind"),
    }
    for name, (content, fault) in contents.items():
        yield Sample(name, content, faults=frozenset({fault}))


def _broken() -> Iterator[Sample]:
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"):
        content = saved(noise(), kind)
        yield Sample(f"half.{kind.lower()}", content[: len(content) // 2], faults=FAULTY)
        yield Sample(f"head.{kind.lower()}", content[:12], faults=FAULTY | {"not a picture"})
    png = bytearray(saved(noise(), "PNG"))
    png[len(png) // 2] ^= 1
    yield Sample("flipped.png", bytes(png), faults=FAULTY)


def mutated(count: int) -> dict[str, bytes]:
    """Valid files with a few bytes changed, cut out or doubled, by a fixed seed."""
    generator = np.random.default_rng(0)
    found = {}
    for number in range(count):
        kind = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")[number % 6]
        content = bytearray(saved(noise(number), kind))
        for _ in range(int(generator.integers(1, 6))):
            place = int(generator.integers(len(content)))
            way = number // 6 % 3
            if way == 0:
                content[place] ^= 1 << int(generator.integers(8))
            elif way == 1:
                del content[place : place + int(generator.integers(1, 50))]
            else:
                content[place:place] = content[: int(generator.integers(1, 50))]
        found[f"{number}.{kind.lower()}"] = bytes(content)
    return found
