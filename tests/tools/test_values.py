"""A value of a sweep is what `dvc exp run -S` makes of the same words."""

import shutil
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides  # type: ignore[import-untyped]

from imageclf.runtime.errors import ParamsError
from imageclf.runtime.yaml import flat, load_yaml
from tests.imports import ROOT
from tools.sweeping.values import read_values


def _by_dvc(folder: Path, key: str, word: str) -> object:
    """What stands in params.yaml after DVC has set it."""
    shutil.copy(ROOT / "params.yaml", folder)
    apply_overrides(folder / "params.yaml", [f"{key}={word}"])
    return flat(load_yaml((folder / "params.yaml").read_text()))[key]


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("train.lr", "0.1,1e-3, 1e6 ,.5,1.,+2,1_000", ["0.1", "1e-3", "1e6", ".5", "1.", "+2", "1_000"]),
        ("train.lr", "010,0x1,'1e-3',abc", ["010", "0x1", "'1e-3'", "abc"]),
        ("train.tta_flip", "true,False,yes,null,'true'", ["true", "False", "yes", "null", "'true'"]),
        ("train.scales", "[0.5,1],[0.5, 1.0],[1],auto", None),
        ("train.scales", "[0.5,1],[1],auto", ["[0.5,1]", "[1]", "auto"]),
        ("data.path", "/my photos,C:\\photos,a:b", ["/my photos", "C:\\photos", "a:b"]),
        ("data.path", "'/a, b/c','/cats & dogs','/café'", ["'/a, b/c'", "'/cats & dogs'", "'/café'"]),
        ("data.path", "\"tom's\",'say \"it\"','[1'", ['"tom\'s"', "'say \"it\"'", "'[1'"]),
        ("data.path", "a\\,b,c", ["a\\,b", "c"]),
        ("data.path", "'a,b'", ["'a,b'"]),
        ("train.seed", "range(0,3)", ["0", "1", "2"]),
        ("train.seed", "choice(3,1)", ["3", "1"]),
    ],
)
def test_values_are_those_of_dvc(tmp_path: Path, key: str, text: str, words: list[str] | None) -> None:
    if words is None:  # [0.5,1] and [0.5, 1.0] are one
        with pytest.raises(ParamsError, match="given twice"):
            read_values(key, text)
        return
    values = read_values(key, text)
    assert list(values) == words
    for word, value in values.items():
        by_dvc = _by_dvc(tmp_path, key, word)
        assert (value, type(value)) == (by_dvc, type(by_dvc))


@pytest.mark.parametrize("text", ["é", "cats & dogs", "a#b", "'a", "[1", "(a)", "a=b", "'a'b"])
def test_what_dvc_cannot_read_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Exception):  # noqa: B017 - dvc has several, some of them "unexpected"
        _by_dvc(tmp_path, "data.path", text)
    with pytest.raises(ParamsError, match="dvc cannot read this"):
        read_values("data.path", text)
