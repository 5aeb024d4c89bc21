"""prepare: stratified validation, exact statistics, packed arrays in the order of samples.csv."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from imageclf.images import packing
from imageclf.images.dataset import read_dataset, read_split
from imageclf.images.grid import draw_preview
from imageclf.images.packing import mean_and_std
from imageclf.images.splits import choose_validation
from imageclf.runtime.errors import DataError
from imageclf.runtime.files import write_sums
from stages import prepare
from tests.imports import ROOT

GENERATOR = np.random.default_rng(0)


def make_raw(folder: Path, *, channels: int = 3, train: int = 100, test: int = 20) -> dict[str, np.ndarray]:
    raw = folder / "data/raw"
    raw.mkdir(parents=True)
    arrays: dict[str, np.ndarray] = {}
    for split, count in (("train", train), ("test", test)):
        arrays[f"{split}_images"] = GENERATOR.integers(0, 256, (count, 6, 5, channels)).astype(np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % 2
    for name, array in arrays.items():
        np.save(raw / f"{name}.npy", array)
    (raw / "dataset.json").write_text(json.dumps({"name": "tiny", "classes": ["ant", "bee"]}))
    write_sums(raw)
    return arrays


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    return tmp_path


@pytest.mark.parametrize("channels", [1, 3])
def test_every_raw_image_ends_in_one_split_and_samples_says_where(workspace: Path, channels: int) -> None:
    raw = make_raw(workspace, channels=channels)
    prepare.main()
    samples = pd.read_csv("data/prepared/samples.csv")
    assert not samples["id"].duplicated().any()
    for split, count in (("train", 90), ("val", 10), ("test", 20)):
        rows = samples[samples["split"] == split]
        packed = read_split(split)
        assert len(rows) == len(packed) == count
        for row, image, label in zip(rows.itertuples(), packed.images, packed.labels, strict=True):
            origin, index = str(row.id).split("-")
            assert (raw[f"{origin}_images"][int(index)] == image).all()
            assert ["ant", "bee"][label] == row.label
    assert read_dataset().counts == {"train": 90, "val": 10, "test": 20}


def test_statistics_are_of_the_training_split_alone(workspace: Path) -> None:
    make_raw(workspace)
    prepare.main()
    pixels = read_split("train").images / 255
    assert read_dataset().mean == pytest.approx(pixels.mean((0, 1, 2)), abs=1e-7)
    assert read_dataset().std == pytest.approx(pixels.std((0, 1, 2)), abs=1e-7)


def test_no_validation_is_allowed(workspace: Path) -> None:
    make_raw(workspace)
    params = workspace / "params.yaml"
    params.write_text(params.read_text().replace("val_fraction: 0.1", "val_fraction: 0"))
    prepare.main()
    assert len(read_split("val")) == 0
    assert len(read_split("train")) == 100


def test_missing_raw_data_is_one_sentence(workspace: Path) -> None:
    with pytest.raises(DataError, match="data/raw is missing; run dvc repro download"):
        prepare.main()


def test_validation_has_the_same_share_of_every_class() -> None:
    labels = np.repeat([0, 1, 2], [1000, 200, 50])
    chosen = choose_validation(labels, fraction=0.1, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [100, 20, 5]


def test_another_seed_chooses_others() -> None:
    labels = np.zeros(1000, int)
    both = choose_validation(labels, fraction=0.5, seed=0) & choose_validation(labels, fraction=0.5, seed=1)
    assert 200 < both.sum() < 300


@pytest.mark.parametrize("much", [0, packing.MUCH])
@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_are_those_of_all_pixels(monkeypatch: pytest.MonkeyPatch, channels: int, much: int) -> None:
    monkeypatch.setattr(packing, "MUCH", much)  # 0: by compiled loops
    monkeypatch.setattr(packing, "CHUNK", 700 * 12 * channels)
    images = GENERATOR.integers(0, 256, (2100, 3, 4, channels)).astype(np.uint8)
    mean, std = mean_and_std(images)
    assert mean == pytest.approx((images / 255).mean((0, 1, 2)), abs=1e-7)
    assert std == pytest.approx((images / 255).std((0, 1, 2)), abs=1e-7)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_preview_shows_each_class_in_its_row(channels: int) -> None:
    images = np.zeros((40, 8, 8, channels), np.uint8)
    images[20:] = 200
    labels = np.repeat([0, 1], 20)
    sheet = np.asarray(draw_preview(images, labels, ["ant", "a class with a name far too long for its place"]))
    upper, lower = sheet[: len(sheet) // 2, 140:], sheet[len(sheet) // 2 :, 140:]
    assert (upper == 0).mean() > 0.4
    assert (lower == 200).mean() > 0.4
    assert isinstance(draw_preview(images, labels, ["ant", "bee"]), Image.Image)
