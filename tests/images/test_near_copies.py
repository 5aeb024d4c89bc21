"""Near-copies: altered copies are found among different pictures, and what becomes of them is as asked."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from benchmarks.near_copies import WAYS, altered
from imageclf.datasets.folder import make_manifest
from imageclf.images import likeness
from imageclf.images.decode_all import decode_files
from imageclf.images.likeness import EDGE, LENGTH, MOST, SKETCH, _describe, crops_for, find_alike
from imageclf.images.manifest import Files
from imageclf.images.near_copies import NearCopies, find_near_copies, tied
from imageclf.images.outcomes import Outcomes
from imageclf.images.pairs import Pair, draw_pairs
from imageclf.images.splits import NONE, TEST, TRAIN
from imageclf.images.verification import SAME, NearCopy, _Match, _verify
from stages.evaluate import TOO_HIGH
from tests.images.corpus import saved
from tests.images.test_own_images import Own, own  # noqa: F401 - a fixture

CLASSES = ["copies", "pictures"]


def scene(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """Smooth colours with some ellipses, as different from another seed's as photographs are."""
    generator = np.random.default_rng(seed)
    patches = generator.integers(0, 256, (5, 6, 3)).astype(np.uint8)
    picture = Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(8):
        left, top = generator.uniform(0, 0.8, 2) * size
        wide, high = generator.uniform(0.1, 0.4, 2) * size
        colour = tuple(generator.integers(0, 256, 3).tolist())
        draw.ellipse((left, top, left + wide, top + high), fill=colour)
    return picture


def jpeg(picture: Image.Image, quality: int = 90) -> bytes:
    return saved(picture, "JPEG", quality=quality)


def searched(folder: Path, contents: dict[str, bytes], *, workers: int = 2) -> NearCopies:
    """The near-copies among files in two folders, by name."""
    for name, content in contents.items():
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    raw = folder / "raw"
    raw.mkdir()
    make_manifest([str(folder / "photos")]).write(raw)
    files = Files(raw, [str(folder / "photos")], CLASSES)
    sketches = np.zeros((len(files), SKETCH, SKETCH), np.uint8)
    outcomes = Outcomes(len(files), sketches=sketches)
    for index, outcome in decode_files(files, lambda _: None, size=(16, 16), workers=workers, sketch=SKETCH):
        outcomes.put(index, outcome)
    sizes, pictures = outcomes.facts["size"], outcomes.number_pictures()
    return find_near_copies(files, sketches, pictures, sizes, window=None, folder=folder, workers=workers)


def names(near: NearCopies) -> list[tuple[str, str, str]]:
    return [(near.kind(pair), near.files[pair.whole].path, near.files[pair.part].path) for pair in near.pairs]


def test_altered_copies_are_found_among_different_pictures_and_few_others(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    contents = {f"pictures/{seed:03d}.jpg": jpeg(scene(seed)) for seed in range(300)}
    for number in range(30):
        picture, _ = altered(scene(number), WAYS[number % len(WAYS)], generator)
        contents[f"copies/{number:03d}.jpg"] = jpeg(picture, int(generator.integers(30, 91)))
    pairs = {frozenset(pair[1:]) for pair in names(searched(tmp_path, contents))}
    true = {frozenset((f"copies/{number:03d}.jpg", f"pictures/{number:03d}.jpg")) for number in range(30)}
    assert len(pairs & true) >= 27
    assert len(pairs - true) <= 3


def test_pictures_that_differ_in_one_place_or_in_colour_are_no_near_copies(tmp_path: Path) -> None:
    first, second, third = scene(1), scene(1), scene(1)
    ImageDraw.Draw(second).rectangle((60, 45, 79, 59), fill="white")  # one block of 64
    red, green, blue = third.split()
    plain = {f"pictures/plain {value}.jpg": jpeg(Image.new("RGB", (90, 90), (value, 90, 90))) for value in (80, 90)}
    contents = {
        "pictures/a.jpg": jpeg(first),
        "copies/b.jpg": jpeg(second),
        "copies/c.jpg": jpeg(Image.merge("RGB", (blue, green, red))),
    }
    assert names(searched(tmp_path, contents | plain)) == []


def test_a_pair_must_agree_in_every_block_and_in_contrast() -> None:
    whole = scene(1, (160, 160))
    spotted, pale = whole.copy(), ImageEnhance.Contrast(whole).enhance(0.5)
    ImageDraw.Draw(spotted).rectangle((60, 60, 79, 79), fill=(200, 240, 240))  # one block of 64
    views = dict(enumerate(np.asarray(picture) for picture in (whole, whole, spotted, pale)))
    sizes, box = np.full((4, 2), 160), [0, EDGE, 0, EDGE]
    assert [_verify(views, sizes, (0, part, False, box)) is not None for part in (1, 2, 3)] == [True, False, False]
    assert _Match(spotted.resize((64, 64)), [0, 64, 0, 64], np.asarray(whole.resize((32, 32)), int)).correlation > SAME


def test_each_kind_is_named_with_the_lesser_picture_as_the_part(tmp_path: Path) -> None:
    wholes, sideways = [scene(seed) for seed in range(5)], Image.Exif()
    sideways[0x112] = 6  # upright once it is turned by 90 degrees, clockwise
    contents = {f"pictures/{seed}.jpg": jpeg(whole, 95) for seed, whole in enumerate(wholes)}
    contents["copies/0.jpg"] = jpeg(wholes[0].resize((80, 60)), 95)
    contents["copies/1.jpg"] = jpeg(wholes[1].transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((320, 240)), 95)
    contents["copies/2.jpg"] = jpeg(wholes[2].crop((30, 10, 150, 100)), 95)
    contents["copies/3.jpg"] = jpeg(wholes[3].resize((100, 60)), 95)
    lying = wholes[4].transpose(Image.Transpose.ROTATE_90)
    contents["copies/4.jpg"] = saved(lying, "JPEG", quality=60, exif=sideways)
    found = names(searched(tmp_path, contents))
    assert ("re-encoded copy", {"copies/4.jpg", "pictures/4.jpg"}) in [(kind, {*both}) for kind, *both in found]
    found = [pair for pair in found if "copies/4.jpg" not in pair]
    assert sorted(found, key=lambda pair: pair[1:]) == [
        ("mirrored resized copy", "copies/1.jpg", "pictures/1.jpg"),
        ("resized copy", "pictures/0.jpg", "copies/0.jpg"),
        ("crop", "pictures/2.jpg", "copies/2.jpg"),
        ("distorted copy", "pictures/3.jpg", "copies/3.jpg"),
    ]


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    contents = {f"pictures/{seed}.jpg": jpeg(scene(seed)) for seed in range(20)}
    contents |= {f"copies/{seed}.jpg": jpeg(scene(seed).crop((20, 10, 150, 110))) for seed in range(20)}
    found = []
    for workers in (1, 3):
        folder = tmp_path / str(workers)
        folder.mkdir()
        found.append(searched(folder, contents, workers=workers).pairs)
    assert found[0] == found[1]
    assert len(found[0]) >= 18


def test_products_of_descriptions_are_whole_numbers_that_float32_holds() -> None:
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (6, SKETCH, SKETCH)).astype(np.uint8)
    steps = np.where(np.arange(SKETCH) < 7, 255, 0) * np.ones((2, SKETCH, 1))
    even, odd = _describe(np.concatenate([noise, steps.astype(np.uint8)]), crops_for(300))
    assert (even == np.rint(even)).all() and (odd == np.rint(odd)).all()
    both = np.concatenate([np.abs(even), np.abs(odd)], axis=2).astype(np.float64)
    assert (both**2).sum(2).max() < 2**23  # so is any product of two, by Cauchy and Schwarz, and any part of its sum
    assert (both[:6] ** 2).sum(2).min() > 0.98 * LENGTH**2


@pytest.mark.parametrize(
    ("affordable", "said"),
    [(9 * 159, []), (9 * 48, ["small crops are missed"]), (9 * 20, ["only crops that cut off little"])],
)
def test_a_search_for_fewer_crops_says_so(
    affordable: int, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likeness, "WORK", affordable)
    monkeypatch.setattr(likeness, "WORK_EACH", 0)
    near = searched(tmp_path, {f"{CLASSES[seed % 2]}/{seed}.jpg": jpeg(scene(seed)) for seed in range(3)})
    assert len(near.limits) == len(said)
    assert all(words in limit for words, limit in zip(said, near.limits, strict=True))


def test_more_pictures_are_searched_for_fewer_crops() -> None:
    numbers = [len(crops_for(pictures)) for pictures in (2, 300, 3_000, 5_000, 20_000, MOST)]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[1] > 100 and numbers[-1] == 1
    for pictures in (3_000, 5_000, 20_000):
        assert len(crops_for(pictures)) * pictures**2 <= 2e9
    empty = np.zeros((0, SKETCH, SKETCH), np.uint8)
    assert len(find_alike(empty, np.zeros(0, int), crops_for(0), threads=1).part) == 0


def with_copies(own: Own) -> None:  # noqa: F811
    """Twenty photographs and, of each, a smaller crop."""
    for number in range(20):
        (own.images / "ant" / f"whole {number:02d}.jpg").write_bytes(jpeg(scene(number)))
        (own.images / "ant" / f"crop {number:02d}.jpg").write_bytes(jpeg(scene(number).crop((20, 10, 150, 110))))


def near_lines() -> pd.DataFrame:
    table = pd.read_csv("metrics/data_report.csv", dtype=str)
    return table[table["problem"].str.startswith("near-copy: ")]


def test_pairs_across_splits_lead_the_report_and_the_console(own: Own, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    with_copies(own)
    own.prepare()
    lines, split = near_lines(), own.samples().set_index("path")["split"]
    across = [split[path] != split[path.replace("crop", "whole")] for path in lines["path"]]
    assert len(lines) >= 18 and set(lines["action"]) == {"used"}
    assert across == sorted(across, reverse=True) and 0 < sum(across) < len(across)
    assert lines["problem"].str.contains(", which is in ").tolist() == across
    said = [line for line in capsys.readouterr().out.splitlines() if "near-copies" in line]
    assert f"{sum(across)} of {len(lines)} pairs across splits, such as ant/" in said[0]
    assert TOO_HIGH in said[0]  # by which evaluate knows it
    assert Image.open("metrics/near_copies.png").width > 800


def test_kept_together_none_lies_across_splits(own: Own) -> None:  # noqa: F811
    with_copies(own)
    own.set("near_copies", "report", "together")
    own.prepare()
    split = own.samples().set_index("path")["split"]
    assert len(split) == 100
    for path in near_lines()["path"]:
        assert split[path] == split[path.replace("crop", "whole")]
    assert len(set(split[near_lines()["path"]])) > 1  # they are dealt, not all put into one split


def test_dropped_all_but_the_largest_are_left_out_with_a_line(own: Own) -> None:  # noqa: F811
    with_copies(own)
    (own.images / "ant" / "large.png").write_bytes(saved(scene(0, (160, 120)).resize((400, 300)), "PNG"))
    (own.images / "ant" / "same crop.jpg").write_bytes((own.images / "ant" / "crop 00.jpg").read_bytes())
    own.set("near_copies", "report", "drop")
    own.prepare()
    lines, kept = near_lines(), set(own.samples()["path"])
    assert set(lines["action"]) == {"left out"} and len(kept) + len(lines) == 102
    assert not kept & set(lines["path"])
    assert {"ant/whole 00.jpg", "ant/crop 00.jpg", "ant/same crop.jpg"} <= set(lines["path"])
    assert "ant/large.png" in kept


@pytest.mark.parametrize("asked", ["report", "drop"])
def test_near_copies_with_two_labels_are_told_of_first(own: Own, asked: str) -> None:  # noqa: F811
    with_copies(own)
    (own.images / "bee" / "larger.png").write_bytes(saved(scene(3, (160, 120)).resize((400, 300)), "PNG"))
    if asked != "report":
        own.set("near_copies", "report", asked)
    own.prepare()
    lines, all_lines = near_lines(), pd.read_csv("metrics/data_report.csv")
    assert all_lines["problem"].str.contains("2 pairs with two labels, such as ").sum() == 1
    torn = lines["problem"].str.contains("it is labelled ant, and the other bee")
    assert torn.sum() == 2 and set(lines[torn]["path"]) == {"ant/whole 03.jpg", "ant/crop 03.jpg"}


def test_a_copy_of_a_given_test_picture_is_left_out_of_training(own: Own) -> None:  # noqa: F811
    for name in ("ant", "bee"):
        (own.images / "train" / name).mkdir(parents=True)
        (own.images / "test" / name).mkdir(parents=True)
        for number, path in enumerate(sorted((own.images / name).iterdir())):
            path.rename(own.images / ("test" if number % 3 == 0 else "train") / name / path.name)
        (own.images / name).rmdir()
    (own.images / "train/ant/larger.jpg").write_bytes(jpeg(scene(0, (320, 240))))
    (own.images / "test/ant/crop.jpg").write_bytes(jpeg(scene(0).crop((20, 10, 150, 110))))
    own.set("near_copies", "report", "together")
    own.prepare()
    assert near_lines()["problem"].str.contains("which is in train, and this in test").tolist() == [True]
    own.set("near_copies", "together", "drop")
    own.prepare()
    assert near_lines()["path"].tolist() == ["train/ant/larger.jpg"]
    assert "test/ant/crop.jpg" in set(own.samples()["path"])


def test_a_set_whose_units_are_given_to_two_splits_stays_apart_also_through_a_group() -> None:
    given = np.array([NONE, NONE, TEST, TRAIN, NONE, NONE])
    pairs = [NearCopy(*both, False, (0, 1, 0, 1), 1.0) for both in ((0, 2), (1, 3), (4, 5))]
    near = NearCopies(None, np.arange(6), np.ones((6, 2), int), pairs, {}, [])  # type: ignore[arg-type]
    contents, sound = np.arange(10, 16, dtype=np.uint64), np.ones(6, bool)
    alone = tied(contents, near, sound, unit=np.arange(6), given=given)
    assert alone.tolist() == [10, 11, 10, 11, 14, 14]
    grouped = tied(contents, near, sound, unit=np.array([0, 0, 1, 2, 3, 4]), given=given)  # the first two
    assert grouped.tolist() == [10, 11, 10, 13, 14, 14]


def test_the_sheet_shows_pictures_in_their_shape_and_is_drawn_without_any() -> None:
    red, blue = (np.full((160, 160, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    pair = Pair((red, blue), ((300, 100), (100, 300)), "crop", ("a.jpg", "b.jpg"), ("train", "test"), marked=True)
    drawn = np.asarray(draw_pairs([pair], title="1 pair"))
    for colour, wide in (((255, 0, 0), True), ((0, 0, 255), False)):
        rows, columns = np.nonzero((drawn == colour).all(2))
        ratio = (np.ptp(columns) + 1) / (np.ptp(rows) + 1)
        assert ratio == pytest.approx(3 if wide else 1 / 3, rel=0.05)
    file = io.BytesIO()
    draw_pairs([], title="No near-copies").save(file, "PNG")
