"""Every kind of file becomes the right pixels, or is named with the right fault."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from imageclf.images import crew
from imageclf.images.decode_all import check_room, decode_files
from imageclf.images.manifest import File
from imageclf.images.outcomes import Outcome
from imageclf.images.packing import ImageFile
from imageclf.runtime.errors import DataError, MachineError
from imageclf.runtime.files import sha256_of_file
from tests.images.corpus import corpus, mutated, saved

SIDE = 24
CORPUS = corpus()
NEEDS_AVIF = pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")


def listed(folder: Path, contents: dict[str, bytes]) -> list[File]:
    files = []
    for name, content in contents.items():
        place = folder / name
        place.write_bytes(content)
        files.append(File(str(place), name, "ant", "", len(content), sha256_of_file(place)))
    return files


def decoded(files: list[File], folder: Path, *, workers: int) -> tuple[list[Outcome], np.ndarray]:
    array = ImageFile(folder / f"pixels{workers}", (SIDE, SIDE, 3))
    array.resize(len(files))
    slots = {index: (array.path, array.place(index)) for index in range(len(files))}
    outcomes = dict(decode_files(files, slots.get, size=(SIDE, SIDE), workers=workers))
    return [outcomes[index] for index in range(len(files))], np.load(array.path)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Outcome, np.ndarray]]:
    folder = tmp_path_factory.mktemp("corpus")
    files = listed(folder, {sample.name: sample.content for sample in CORPUS})
    outcomes, images = decoded(files, folder, workers=2)
    return {file.path: (outcome, image) for file, outcome, image in zip(files, outcomes, images, strict=True)}


def test_the_corpus_is_what_it_should_be() -> None:
    assert len(CORPUS) >= 60
    assert len({sample.name for sample in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("sample", CORPUS, ids=lambda sample: sample.name)
def test_a_file_is_shown_right_or_named(sample, answers) -> None:  # type: ignore[no-untyped-def]
    outcome, image = answers[sample.name]
    if sample.mean is None:
        assert outcome.fault in sample.faults, outcome
        assert outcome.found and "\n" not in outcome.found
    else:
        assert not outcome.fault, outcome
        assert np.abs(image.astype(int) - sample.mean).max() <= sample.tolerance
        assert outcome.oddities == sample.oddities


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG", pytest.param("AVIF", marks=NEEDS_AVIF)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_their_camera_says(tmp_path: Path, kind: str, orientation: int) -> None:
    upright = np.zeros((SIDE, SIDE, 3), np.uint8)
    upright[: SIDE // 2, : SIDE // 3] = 255
    back = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}  # the turn that undoes each
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Pillow's numbers for them
    lying = Image.fromarray(upright)
    if orientation > 1:
        lying = lying.transpose(Image.Transpose(turns[back[orientation]]))
    exif = Image.Exif()
    exif[0x112] = orientation
    content = saved(lying, kind, exif=exif, **{"WEBP": {"lossless": True}}.get(kind, {"quality": 100}))
    _, images = decoded(listed(tmp_path, {"a": content}), tmp_path, workers=1)
    assert ((images[0] > 127) == (upright > 127)).all()


def test_damaged_files_end_well_and_alike_for_any_number_of_workers(tmp_path: Path) -> None:
    files = listed(tmp_path, mutated(120))
    one, two = (decoded(files, tmp_path, workers=workers) for workers in (1, 2))
    assert one[0] == two[0]
    for index, outcome in enumerate(one[0]):
        assert bool(outcome.fault) != bool(outcome.digest)
        assert outcome.fault or (one[1][index] == two[1][index]).all()
    assert 20 < sum(bool(outcome.fault) for outcome in one[0]) < 120


def test_where_there_is_no_fork_the_pixels_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = listed(
        tmp_path, {f"{side}.png": saved(Image.new("RGB", (side, 30), (side, 0, 0)), "PNG") for side in (20, 50)}
    )
    _, forked = decoded(files, tmp_path, workers=1)
    monkeypatch.setattr(crew, "start_method", lambda: "spawn")
    outcomes, spawned = decoded(files, tmp_path, workers=2)
    assert not [outcome.fault for outcome in outcomes if outcome.fault]
    assert np.array_equal(forked, spawned)


@pytest.mark.parametrize("change", ["bytes", "size", "link", "gone"])
def test_a_file_that_changed_since_download_is_refused(tmp_path: Path, change: str) -> None:
    (file,) = listed(tmp_path, {"a.png": CORPUS[0].content})
    if change in ("link", "gone"):
        Path(file.place).rename(tmp_path / "b.png")
    if change == "link":
        Path(file.place).symlink_to(tmp_path / "b.png")
    elif change == "bytes":
        Path(file.place).write_bytes(CORPUS[0].content[:-1] + b"!")
    elif change == "size":
        Path(file.place).write_bytes(CORPUS[0].content + b"!")
    with pytest.raises(DataError, match=r"a\.png was changed or removed since download; run dvc repro"):
        list(decode_files([file], lambda _: None, size=(SIDE, SIDE), workers=1))


def test_images_that_the_disk_has_no_room_for_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"need 3,000,000\.0 GB of disk space, .* lower prepare\.size"):
        check_room(tmp_path, 3 * 10**15)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGQUIT, "its decoder was killed by signal 3 (SIGQUIT); get a whole copy"),
        (signal.SIGPROF, "it took more than 60 seconds to decode; get a whole copy"),
    ],
)
def test_a_file_that_ends_its_decoder_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, words: str
) -> None:
    monkeypatch.setattr("imageclf.images.decode_all.decode", lambda *_, **__: os.kill(os.getpid(), number))
    outcomes, _ = decoded(listed(tmp_path, {"a.png": b"x"}), tmp_path, workers=1)
    assert [(outcome.fault, outcome.found) for outcome in outcomes] == [("damaged", words)]


def test_a_decoder_that_the_system_killed_is_no_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imageclf.images.decode_all.decode", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(MachineError, match=r"decoded a.png was killed by signal 9 \(SIGKILL\), .*; end other programs"):
        decoded(listed(tmp_path, {"a.png": b"x"}), tmp_path, workers=1)
