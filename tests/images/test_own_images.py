"""A user's own folder, from download to packed splits: everything is used or named, and nothing moves."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from imageclf.images.dataset import PREPARED, SPLITS, read_dataset, read_split
from imageclf.runtime.errors import DataError, ParamsError
from stages import download, prepare
from tests.images.corpus import corpus, saved
from tests.imports import ROOT


def picture(seed: int) -> bytes:
    return saved(Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 20, 3)).astype(np.uint8)), "PNG")


def fill(folder: Path, seeds: range) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (folder / f"{seed:04d}.png").write_bytes(picture(seed))


class Own:
    """A workspace with a folder of 60 pictures in two classes, and params that name it."""

    def __init__(self, folder: Path) -> None:
        self.images = folder / "my images"
        self._params = folder / "params.yaml"
        self._params.write_text((ROOT / "params.yaml").read_text())
        self.set("name", "cifar10", "folder")
        self.set("path", "data/none", "my images")
        fill(self.images / "ant", range(30))
        fill(self.images / "bee", range(100, 130))

    def set(self, key: str, old: str, new: str) -> None:
        text = self._params.read_text()
        assert f"  {key}: {old} " in text
        self._params.write_text(text.replace(f"  {key}: {old} ", f"  {key}: {new} ", 1))

    def prepare(self) -> str:
        download.main()
        return prepare.main()

    def samples(self) -> pd.DataFrame:
        return pd.read_csv("data/prepared/samples.csv", dtype=str)

    def report(self) -> dict[str, tuple[str, str]]:
        table = pd.read_csv("metrics/data_report.csv", dtype=str)
        return {path: (problem.split(":")[0], action) for path, problem, action in table.itertuples(index=False)}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Own:
    monkeypatch.chdir(tmp_path)
    return Own(tmp_path)


def test_every_image_is_packed_under_its_class(own: Own) -> None:
    own.set("size", "auto", "20")
    own.prepare()
    assert read_dataset().classes == ["ant", "bee"]
    assert sum(read_dataset().counts.values()) == 60
    samples = own.samples()
    for split in ("train", "val", "test"):
        packed, rows = read_split(split), samples[samples["split"] == split]
        for image, label, row in zip(packed.images, packed.labels, rows.itertuples(), strict=True):
            assert Path(str(row.path)).parts[0] == row.label == ["ant", "bee"][label]
            assert (np.asarray(Image.open(own.images / str(row.path))) == image).all()


def test_names_of_every_kind_pass_through_unchanged(own: Own) -> None:
    names = [
        "NA",
        "null",
        "no",
        "1e3",
        "01",
        "-rf",
        "=1+1",
        "a, b; $(id) `id`",
        "\u65e5\u672c \u732b",
    ]
    for number, name in enumerate(names):
        fill(own.images / name, range(1000 * number + 1000, 1000 * number + 1030))
        (own.images / name / "0000\n'\".png").write_bytes(picture(number + 500))
    own.prepare()
    assert read_dataset().classes == sorted([*names, "ant", "bee"])
    samples = pd.read_csv("data/prepared/samples.csv", dtype=str, keep_default_na=False)
    assert set(samples["label"]) == {*names, "ant", "bee"}
    assert len(samples) == 60 + 31 * len(names)


def test_a_class_folder_that_is_a_link_is_said_to_be_left_out(own: Own, capsys: pytest.CaptureFixture[str]) -> None:
    (own.images / "cat").symlink_to(own.images / "ant")
    own.prepare()
    assert "download: left out cat: a link to a folder; replace it by the folder itself\n" in capsys.readouterr().out
    assert own.report()["cat"] == ("a link to a folder", "left out")


def test_links_to_the_cache_of_dvc_are_packed_as_the_files_themselves(own: Own) -> None:
    own.prepare()
    before = Path("data/prepared/dataset.json").read_bytes()
    for number, path in enumerate(sorted(own.images.rglob("*.png"))):
        place = Path("cache/files/md5/00", f"{number:030x}").absolute()
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
        path.symlink_to(place)
    own.prepare()
    assert Path("data/prepared/dataset.json").read_bytes() == before


def test_nothing_is_written_to_the_users_folder(own: Own) -> None:
    def found() -> dict[Path, tuple[int, bytes]]:
        paths = [own.images, *own.images.rglob("*")]
        return {path: (path.stat().st_mtime_ns, b"" if path.is_dir() else path.read_bytes()) for path in paths}

    before = found()
    own.prepare()
    assert found() == before


def test_images_more_move_few_of_their_class_and_none_of_another(own: Own) -> None:
    own.prepare()
    before = own.samples().set_index("path")["split"]
    fill(own.images / "ant", range(500, 510))
    fill(own.images / "cat", range(600, 625))
    own.prepare()
    after = own.samples().set_index("path")["split"]
    moved = before.index[after[before.index] != before]
    assert all(moved.str.startswith("ant/")) and len(moved) <= 20
    assert len(after) == len(before) + 35


def test_folders_in_a_class_are_groups_that_stay_together(own: Own, capsys: pytest.CaptureFixture[str]) -> None:
    own.set("group", "none", "folder")
    for seed in range(24):
        fill(
            own.images / ("ant", "bee")[seed % 2] / f"tom {seed // 3}" / ("deep" * (seed % 3)),
            range(900 + seed, 901 + seed),
        )
    own.prepare()
    assert "download: 8 groups hold 24 of 84 files, and each stays in one split; 8 of them with several classes" in (
        capsys.readouterr().out
    )
    samples = pd.read_csv("data/prepared/samples.csv", dtype=str, keep_default_na=False)
    groups = samples[samples["group"] != ""].groupby("group")
    assert set(groups.groups) == {f"tom {number}" for number in range(8)}
    assert (groups["split"].nunique() == 1).all() and (groups["label"].nunique() == 2).all()
    before = samples.set_index("path")["split"]
    fill(own.images / "ant/tom 0", range(950, 953))
    own.prepare()
    assert (own.samples().set_index("path")["split"][before.index] == before).mean() > 0.9


def test_groups_that_copies_join_over_given_splits_are_one_sentence(own: Own) -> None:
    rows = ["0000.png,ant,train,a", "0001.png,ant,,a", "copy.png,ant,,b", "0003.png,ant,test,b", "bee/0100.png,bee,,"]
    (own.images / "ant/copy.png").write_bytes(picture(1))
    (own.images / "labels.csv").write_text("\n".join(["path,label,split,group", *rows]))
    with pytest.raises(
        DataError, match=r"ant/0000.png is given to train and ant/0003.png to test, and copies .* 'a' and"
    ):
        own.prepare()


def test_the_counts_of_every_class_are_said(own: Own, capsys: pytest.CaptureFixture[str]) -> None:
    fill(own.images / "caterpillar", range(300, 304))
    own.prepare()
    said = capsys.readouterr().out
    assert "prepare: class        train  val  test\nprepare: ant " in said
    assert "prepare: caterpillar      2    1     1\n" in said
    assert "prepare: few images: class caterpillar\n" in said
    report = pd.read_csv("metrics/data_report.csv")
    assert "few images: 4, where 10 or more make scores mean something" in set(report["problem"])


def test_one_group_of_all_images_is_one_sentence(own: Own) -> None:
    own.set("group", "none", "folder")
    for name in ("ant", "bee"):
        (own.images / name).rename(own.images / "images")
        (own.images / name).mkdir()
        (own.images / "images").rename(own.images / name / "images")
    with pytest.raises(DataError, match=r"none of 60 images is in the test split, as groups stay whole; make smaller"):
        own.prepare()


def test_the_test_of_few_images_is_as_large_as_was_asked(own: Own) -> None:
    for path in [*sorted(own.images.glob("*/*"))[12:30], *sorted(own.images.glob("bee/*"))[12:]]:
        path.unlink()
    own.prepare()
    assert own.samples()["split"].value_counts()["test"] in (4, 5, 6)  # 0.2 of 24
    assert own.samples()["split"].value_counts()["val"] in (2, 3, 4)


def test_another_size_moves_no_image_and_finds_the_same_copies(own: Own) -> None:
    (own.images / "bee" / "copy.png").write_bytes(picture(100))
    (own.images / "bee" / "copy.bmp").write_bytes(saved(Image.open(io.BytesIO(picture(101))), "BMP"))
    own.prepare()
    before = own.samples()
    assert set(before["split"]) == {"train", "val", "test"}
    for old, new in (("auto", "20"), ("20", "200")):
        own.set("size", old, new)
        own.prepare()
        assert own.samples().equals(before)
        report = own.report()
        assert report["bee/copy.png"] == ("duplicate", "used")
        assert report["bee/copy.bmp"] == ("duplicate", "used") or report["bee/0101.png"] == ("duplicate", "used")


def test_folds_leave_given_test_images_aside_and_test_each_other_once(own: Own) -> None:
    (own.images / "labels.csv").write_text(
        "path,label,split\n"
        + "".join(
            f"{path.parent.name}/{path.name},{path.parent.name},{'test' if number % 5 == 0 else ''}\n"
            for number, path in enumerate(sorted(own.images.glob("*/*.png")))
        )
    )
    tested, tested_by = [], []
    for number in (1, 2, 3):
        own.set("fold", "none" if number == 1 else f"{number - 1}/3", f"{number}/3")
        own.prepare()
        samples, report = own.samples(), own.report()
        tested += samples["path"][samples["split"] == "test"].tolist()
        folds = np.concatenate([np.load(PREPARED / f"{split}_folds.npy") for split in SPLITS])
        assert ((folds == number - 1) == (samples["split"] == "test")).all()
        tested_by.append(dict(zip(samples["path"], folds.tolist(), strict=True)))
        aside = {path for path, found in report.items() if found == ("set aside", "left out")}
        assert len(aside) == 12 and not aside & set(samples["path"])
        assert len(samples) == 48
    assert len(tested) == len(set(tested)) == 48
    assert tested_by[0] == tested_by[1] == tested_by[2]


def test_images_whose_place_was_guessed_wrong_are_packed_as_any(own: Own) -> None:
    """Copies in other bytes are dealt together, faulty files leave a gap, and spare ones none: each moves others."""
    own.set("on_bad", "fail", "drop")
    own.set("size", "auto", "20")
    own.set("per_class", "null", "20")
    for seed in range(0, 30, 2):
        copy = Image.open(io.BytesIO(picture(seed)))
        (own.images / "ant" / f"{seed:04d} copy.bmp").write_bytes(saved(copy, "BMP"))
        (own.images / "bee" / f"{seed + 100:04d} bad.png").write_bytes(picture(seed + 100)[:-40])
    own.prepare()
    samples = own.samples()
    splits = samples.set_index("path")["split"]
    for split in ("train", "val", "test"):
        images, rows = read_split(split).images, samples[samples["split"] == split]
        assert len(images) == len(rows) > 0
        for image, path in zip(images, rows["path"], strict=True):
            assert (np.asarray(Image.open(own.images / path)) == image).all()
    for seed in range(0, 30, 2):
        pair = {splits.get(f"ant/{seed:04d}.png"), splits.get(f"ant/{seed:04d} copy.bmp")} - {None}
        assert len(pair) < 2  # None: beyond per_class


def test_faulty_files_stop_the_run_or_are_dropped_and_always_named(own: Own) -> None:
    samples = corpus()
    for sample in samples:
        (own.images / "ant" / sample.name).write_bytes(sample.content)
    faulty = {f"ant/{sample.name}" for sample in samples if sample.faults}
    download.main()
    with pytest.raises(DataError, match=rf"{len(faulty)} of .* files cannot be used .*prepare.on_bad=drop"):
        prepare.main()
    assert {path for path, (_, action) in own.report().items() if action == "stops the run"} == faulty
    assert not Path("data/prepared").exists()

    own.set("on_bad", "fail", "drop")
    prepare.main()
    dropped = {path for path, (_, action) in own.report().items() if action == "dropped"}
    assert dropped == faulty
    assert not faulty & set(own.samples()["path"])
    seen = json.loads(Path("metrics/data.json").read_text())["seen"]
    assert len(own.samples()) + len(dropped) == 60 + len(samples) == seen


def test_the_same_picture_under_two_labels_goes_with_all_its_copies(own: Own) -> None:
    own.set("on_bad", "fail", "drop")
    (own.images / "bee/copy.png").write_bytes(picture(3))
    own.prepare()
    assert own.report()["ant/0003.png"] == own.report()["bee/copy.png"] == ("two labels", "dropped")
    assert not {"ant/0003.png", "bee/copy.png"} & set(own.samples()["path"])


def test_copies_stay_together(own: Own) -> None:
    for seed in range(30):
        (own.images / "ant" / f"{seed:04d} again.png").write_bytes(picture(seed))
    own.prepare()
    samples = own.samples().set_index("path")["split"]
    for seed in range(30):
        assert samples[f"ant/{seed:04d}.png"] == samples[f"ant/{seed:04d} again.png"]
        assert own.report()[f"ant/{seed:04d}.png"] == ("duplicate", "used")


def test_a_training_copy_of_a_test_picture_is_a_leak(tmp_path: Path, own: Own) -> None:
    own.set("on_bad", "fail", "drop")
    own.set("path", "my images", "given")
    for name, first in (("ant", 0), ("bee", 100)):
        fill(tmp_path / "given/train" / name, range(first, first + 20))
        fill(tmp_path / "given/test" / name, range(first + 19, first + 25))
    own.prepare()
    assert own.report()["train/ant/0019.png"] == ("leak", "dropped")
    samples = own.samples().set_index("path")["split"]
    assert samples["test/ant/0019.png"] == "test"
    assert set(samples[samples.index.str.startswith("train/")]) == {"train", "val"}


def test_twelve_bits_are_dark_and_told_and_a_window_shows_them(own: Own, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(60):
        name = ("ant", "bee")[seed // 30]
        values = np.random.default_rng(seed).integers(0, 4096, (64, 64)).astype(np.uint16)
        values[0, 0] = 65535  # a dead pixel
        path = own.images / name / f"{seed % 30 + 100 * (seed // 30):04d}.png"
        path.write_bytes(saved(Image.fromarray(values), "PNG"))
    own.prepare()
    assert own.report() == {"all images": ("narrow range", "used")}
    assert "prepare: narrow range: 60 of 60 16-bit pictures" in (said := capsys.readouterr().out)
    assert "set prepare.window=[0,4095] to see them" in said
    assert read_dataset().window is None
    assert np.median(read_split("train").images) < 10

    own.set("window", "null", "[0, 4095]")
    own.prepare()
    assert own.report() == {}
    assert read_dataset().window == [0, 4095]
    assert 118 < np.median(read_split("train").images) < 138


def test_no_validation_for_want_of_images_is_told(own: Own, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(2, 30):
        for name in ("ant", "bee"):
            (own.images / name / f"{seed + 100 * (name == 'bee'):04d}.png").unlink()
    assert "2 train, 0 val, 2 test" in own.prepare()
    assert "prepare: no val image: none of 4 was chosen" in capsys.readouterr().out
    assert own.report()["all images"] == ("no val image", "used")


def test_a_class_alone_without_a_validation_image_is_told(own: Own, capsys: pytest.CaptureFixture[str]) -> None:
    own.set("val_fraction", "0.1", "0.0001")
    for seed in range(102, 130):
        (own.images / f"bee/{seed:04d}.png").unlink()
    assert " 1 val," in own.prepare()
    assert "prepare: no val image: class bee" in capsys.readouterr().out
    report = pd.read_csv("metrics/data_report.csv")
    assert "no val image: under 3 different pictures or groups" in set(report["problem"])


def test_few_of_each_class_to_train_on(own: Own) -> None:
    own.prepare()
    held_out = own.samples().query("split != 'train'")["path"].tolist()
    own.set("per_class", "null", "5")
    own.prepare()
    train = own.samples().query("split == 'train'")
    assert train["label"].value_counts().to_dict() == {"ant": 5, "bee": 5}
    assert own.samples().query("split != 'train'")["path"].tolist() == held_out


def test_a_class_of_which_no_image_can_be_used_is_one_sentence(own: Own) -> None:
    own.set("on_bad", "fail", "drop")
    (own.images / "cat").mkdir()
    (own.images / "cat/a.png").write_bytes(picture(200)[:-50])
    with pytest.raises(
        DataError, match=r"'cat' has no .* of 1 files, and 1 cannot be used \(cat/a\.png: truncated\); add some$"
    ):
        own.prepare()


def test_a_class_that_is_given_to_the_test_alone_is_one_sentence(own: Own) -> None:
    for number, place in enumerate(("train/ant", "train/bee", "test/cat")):
        fill(own.images / place, range(1000 * number, 1000 * number + 30))
    for name in ("ant", "bee"):
        shutil.rmtree(own.images / name)
    with pytest.raises(DataError, match=r"class 'cat' has no image to train on.* of 30 files; add some to train$"):
        own.prepare()


def test_a_misspelt_class_of_one_split_is_told_by_its_right_name(own: Own, capsys: pytest.CaptureFixture[str]) -> None:
    own.images.rename("train")
    own.images.mkdir()
    Path("train").rename(own.images / "train")
    for place, seed in (("test/ant", 500), ("test/bee", 600), ("train/bees", 700)):
        fill(own.images / place, range(seed, seed + 10))
    own.prepare()
    line = "prepare: names alike: 'bees' has no test image, but 'bee' has; if they are one class, rename one\n"
    assert line in capsys.readouterr().out
    fill(own.images / "test/atn", range(800, 803))
    with pytest.raises(DataError, match=r"class 'atn' has no .*; add some to train \(did you mean the class 'ant'"):
        own.prepare()


def test_images_of_which_none_is_for_the_test_are_one_sentence(own: Own) -> None:
    own.set("test_fraction", "0.2", "0.0")
    with pytest.raises(
        DataError, match=r"none of 60 images is in the test split; add images, .* raise prepare.test_frac"
    ):
        own.prepare()


@pytest.mark.parametrize(
    ("key", "old", "new", "words"),
    [
        ("path", "my images", "data/none", "data.path is not set"),
        ("name", "folder", "shapes", "set data.name to folder"),
    ],
)
def test_params_that_do_not_agree(own: Own, key: str, old: str, new: str, words: str) -> None:
    own.set(key, old, new)
    with pytest.raises(ParamsError, match=words):
        download.main()
