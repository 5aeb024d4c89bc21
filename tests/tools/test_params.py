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
