"""The train stage refuses what its data cannot give."""

from typing import Any

import pytest

from stages.console.errors import ParamsError
from stages.train import _check_counts
from tests.training.test_fit import recipe


@pytest.mark.parametrize(
    ("changes", "name"), [({"keep": "best"}, "keep is best"), ({"patience": 2}, "patience is 2")], ids=str
)
def test_what_goes_by_validation_needs_validation_images(changes: dict[str, Any], name: str) -> None:
    _check_counts(recipe(**changes), 100, 1)
    with pytest.raises(ParamsError, match=rf"params\.yaml: train\.{name}, and there are no validation images"):
        _check_counts(recipe(**changes), 100, 0)


def test_the_default_needs_none() -> None:
    _check_counts(recipe(), 100, 0)


def test_a_batch_that_no_epoch_fills_is_refused() -> None:
    chosen = {"hard_share": 0.5, "hard_after": 1, "epochs": 2, "batch_size": 60}
    with pytest.raises(
        ParamsError, match=r"batch_size is 60, more than the 50 training images of train\.hard_share; lower it"
    ):
        _check_counts(recipe(**chosen), 100, 0)
