"""The train stage refuses what its data cannot give."""

from typing import Any

import pytest

from stages.console.errors import ParamsError
from stages.train import _check_choosable
from tests.training.test_fit import recipe


@pytest.mark.parametrize(
    ("changes", "name"), [({"keep": "best"}, "keep is best"), ({"patience": 2}, "patience is 2")], ids=str
)
def test_what_goes_by_validation_needs_validation_images(changes: dict[str, Any], name: str) -> None:
    _check_choosable(recipe(**changes), 1)
    with pytest.raises(ParamsError, match=rf"params\.yaml: train\.{name}, and there are no validation images"):
        _check_choosable(recipe(**changes), 0)


def test_the_default_needs_none() -> None:
    _check_choosable(recipe(), 0)
