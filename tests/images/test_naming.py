"""What people have among their pictures is called by its name, with what to do about it."""

import gzip
import io
import re
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from imageclf.images.decode import Unfit, decode


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "a")
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return file.getvalue()


def array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros((8, 8)))
    return file.getvalue()


def raw(*, order: str = "<", tags: dict[int, int]) -> bytes:
    """The first page of a camera's raw file: a grey preview of 8x8 pixels."""
    tags = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: 64} | tags
    entries = b"".join(struct.pack(order + "HHIHH", tag, 3, 1, value, 0) for tag, value in sorted(tags.items()))
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 72)
    return header + bytes(range(64)) + struct.pack(order + "H", len(tags)) + entries + bytes(4)


NAMED = {
    "dicom": (bytes(128) + b"DICM" + bytes(99), "DICOM cannot be read; convert it to 16-bit PNG, .* prepare.window"),
    "nifti": (struct.pack("<i", 348) + bytes(340) + b"n+1\0", "NIfTI cannot be read; save its slices"),
    "nifti 2": (struct.pack("<i", 540) + b"n+2\0\r\n\x1a\n" + bytes(528), "NIfTI"),
    "numpy": (array(), "a NumPy array cannot be read; save it as PNG"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
    "pam": (b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nENDHDR\n\0", "PAM"),
    "exr": (b"\x76\x2f\x31\x01" + bytes(99), "OpenEXR"),
    "jpeg xl": (b"\xff\x0a" + bytes(99), "JPEG XL"),
    "jpeg 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    "ico": (b"\0\0\1\0\1\0" + bytes(99), "ICO"),
    "avif": (b"\0\0\0\x18ftypavif" + bytes(99), "HEIC or AVIF.*; save it as JPEG"),
    "cr3": (b"\0\0\0\x18ftypcrx " + bytes(99), "a camera's raw file cannot be read; develop it"),
    "cr2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "a camera's raw file"),
    "dng": (raw(tags={254: 1, 50706: 1}), "a camera's raw file"),
    "nef": (raw(order=">", tags={254: 1, 271: 1}), "a camera's raw file"),
    "raw of unknown pixels": (raw(tags={262: 32803, 50706: 1}), "a camera's raw file"),
    "mp4": (b"\0\0\0\x20ftypisom" + bytes(99), r"not a picture but a video \(MP4 or MOV\); save frames"),
    "mov": (b"\0\0\0\x14ftypqt  " + bytes(99), r"not a picture but a video \(MP4 or MOV\)"),
    "avi": (b"RIFF\0\0\0\0AVI LIST", r"not a picture but a video \(AVI\)"),
    "webm": (b"\x1a\x45\xdf\xa3" + bytes(99), r"not a picture but a video"),
    "pdf": (b"%PDF-1.7\n", "not a picture but a PDF"),
    "svg": (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture but an SVG drawing"),
    "zip": (zipped(), "not a picture but a ZIP archive; unpack it"),
    "tar": (tarred(), "not a picture but a tar archive"),
    "gzip": (gzip.compress(b"a"), "not a picture but a gzip archive"),
    "error page": (
        b"\n<!DOCTYPE html><title>404</title>",
        "not a picture but a web page, perhaps .*; download the picture again",
    ),
    "json": (b'{"images": []}', "not a picture but JSON"),
    "xml": (b"<annotation><folder>VOC2007</folder></annotation>", "not a picture but XML"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS.*; run git lfs pull"),
    "git annex": (b"/annex/objects/SHA256E-s9--0.png\n", "git-annex pointer"),
    "dvc": (b"outs:\n- md5: 0\n  size: 9\n  hash: md5\n  path: a.png\n", "DVC pointer.*; run dvc pull"),
    "text": ("h\u00e9llo".encode() * 400, "not a picture but text; take it out"),
    "zeros": (bytes(5000), "not a picture but zero bytes alone; get a whole copy"),
    "unknown": (b"\x7fELF\2\1\1" + bytes(99), r"not a picture \(JPEG, PNG, .*PPM.* can be read\)"),
}


@pytest.mark.parametrize("kind", NAMED)
def test_it_is_named(kind: str) -> None:
    content, words = NAMED[kind]
    with pytest.raises(Unfit) as fault:
        decode(content, size=(8, 8), channels=3)
    assert re.match(words, f"{fault.value.found}; {fault.value.remedy}")


def test_a_tiff_of_a_camera_that_is_no_preview_is_read() -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[271] = "Nikon"
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 8, 7)).save(file, "TIFF", tiffinfo=tags)
    assert (decode(file.getvalue(), size=(8, 8), channels=3).pixels == (9, 8, 7)).all()
