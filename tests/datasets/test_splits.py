"""The words of splits are known in any usual form, and class names are not taken for them."""

import pytest

from imageclf.datasets.names import split_of, splits_of

SAID = {
    "train": (
        "train Train TRAIN Training training_set train_set x_train X-train seg_train train_images trainImages imagesTr "
        "train-512 train2017 01_train trn TrainSet trainset xtrain traindata trainval train_val"
    ),
    "val": "val valid Validation validation_set dev devset eval imagesVal val2014",
    "test": "test Testing tst imagesTs test-images holdout hold_out held-out testset X_test",
}
CLASSES = "test_tube trains valley train_station training_shoes strain contest latest devil evaluation_board tea 7 ant"


@pytest.mark.parametrize(("split", "name"), [(split, name) for split in SAID for name in SAID[split].split()])
def test_splits(split: str, name: str) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize("name", ["Test Set", "test (512x512)", "\uff54\uff45\uff53\uff54"])
def test_splits_with_blanks_and_wide_letters(name: str) -> None:
    assert split_of(name) == "test"


@pytest.mark.parametrize("name", CLASSES.split())
def test_classes(name: str) -> None:
    assert split_of(name) == ""


def test_a_word_that_stands_beside_several_splits_is_no_class() -> None:
    assert splits_of(["own_train", "own_test", "test_tube"]) == {"own_train": "train", "own_test": "test"}
