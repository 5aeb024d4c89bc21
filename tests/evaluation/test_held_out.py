"""The test split is handed out only to a classifier of such images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imageclf.evaluation.inference import read_held_out
from imageclf.runtime.errors import DataError
from tests.small_run import make_card, make_prepared, random_images


def test_the_split_comes_as_it_was_prepared(tmp_path: Path) -> None:
    card = make_card()
    images = random_images(3, card)
    make_prepared(tmp_path, card, images=images, labels=np.array([2, 0, 1]))
    test = read_held_out(card, tmp_path / "data/prepared")
    assert (test.images == images).all()
    assert test.labels.tolist() == [2, 0, 1]


def test_a_classifier_of_other_images_is_refused(tmp_path: Path) -> None:
    card = make_card()
    make_prepared(tmp_path, card, images=random_images(3, card), labels=np.array([2, 0, 1]))
    with pytest.raises(
        DataError, match=r"trained on tiny \(3 classes of 16x16x1\), .* holds tiny .*16x16x3.* repro train"
    ):
        read_held_out(replace(card, channels=1), tmp_path / "data/prepared")


def test_no_test_images_is_one_sentence(tmp_path: Path) -> None:
    card = make_card()
    make_prepared(tmp_path, card, images=random_images(0, card), labels=np.array([], np.int64))
    with pytest.raises(DataError, match="no test images"):
        read_held_out(card, tmp_path / "data/prepared")
