"""tools.params finds what would stop a stage, before one runs."""

from pathlib import Path

import pytest

from imageclf.runtime.errors import ParamsError
from tests.imports import ROOT
from tools import params


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("model: cifarnet ", "model: resnet81 ", r"train\.model is 'resnet81'; .* \(did you mean resnet18\?\)"),
        ("optimizer: auto", "optimizer: sgdd", r"train\.optimizer is 'sgdd'; .* \(did you mean sgd\?\)"),
        ("model: cifarnet ", "model: resnet18 ", ""),
    ],
)
def test_a_wrong_name_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text()
    assert old in text
    Path("params.yaml").write_text(text.replace(old, new))
    if not said:
        params.main()
        return
    with pytest.raises(ParamsError, match=said):
        params.main()


def test_a_path_to_nothing_is_found_and_one_that_dvc_tracks_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("weights: data/none", "weights: lite9.pth"))
    with pytest.raises(ParamsError, match=r"train\.weights is 'lite9\.pth', which is not there; check the path"):
        params.main()
    Path("lite9.pth.dvc").touch()
    params.main()
    Path("params.yaml").write_text(text.replace("path: data/none", "path: photos/new/"))
    with pytest.raises(ParamsError, match=r"data\.path is 'photos/new/'"):
        params.main()
    Path("photos.dvc").touch()
    params.main()


@pytest.mark.parametrize(("processes", "shards", "found"), [("4", "2", True), ("4", "4", False), ("4", "auto", False)])
def test_more_processes_than_shards_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: str, shards: str, *, found: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text().replace("processes: auto", f"processes: {processes}")
    Path("params.yaml").write_text(text.replace("shards: auto", f"shards: {shards}"))
    if not found:
        params.main()
        return
    with pytest.raises(ParamsError, match=r"runtime\.processes is 4, and a batch has 2 shards to give them"):
        params.main()
