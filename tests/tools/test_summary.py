"""The first experiment that the summary suggests fits what came out."""

import pytest

from tools.summary import first_experiment

PRETRAINED = "dvc exp run -S train.model=resnet18 -S train.pretrained=true"


@pytest.mark.parametrize(
    ("data", "pretrained", "images", "suggested"),
    [
        ("cifar10", False, 10_000, "dvc exp run -S train.epochs=12"),
        ("my_images", False, 60, PRETRAINED),
        ("my_images", True, 60, "python -m tools.cross_validate"),
        ("my_images", True, 2_000, "dvc exp run -S train.epochs=12"),
    ],
)
def test_thefirst_experiment_fits_the_result(data: str, pretrained: bool, images: int, suggested: str) -> None:
    recipe = {"pretrained": pretrained, "weights": "data/none", "seed": 0, "epochs": 9}
    assert first_experiment({"data": data, "params": {"train": recipe}}, images=images) == suggested
