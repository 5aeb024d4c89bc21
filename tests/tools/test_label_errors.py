"""The sheet of labels that may be wrong shows own pictures whole, since a cut one cannot be judged."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imageclf.datasets.folder import make_manifest
from imageclf.images.dataset import PREPARED
from tools import label_errors


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_files_that_are_here_are_shown_whole_and_others_as_they_were_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fit: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((20, 60, 3), np.uint8)).save(tmp_path / "photos" / name / "1.png")
    raw = Path("data/raw")
    raw.mkdir(parents=True)
    manifest = make_manifest(["photos"])
    manifest.write(raw)
    (raw / "dataset.json").write_text(json.dumps({"kind": "files", "roots": ["photos"]}))
    assert label_errors._originals(["cat/1.png"], channels=3) == ([None], "crop")  # nothing is prepared
    PREPARED.mkdir()
    (PREPARED / "dataset.json").write_text(json.dumps({"window": None} | ({"fit": fit} if fit != "crop" else {})))
    Path("photos/dog/1.png").unlink()
    (cat, dog), found = label_errors._originals(["cat/1.png", "dog/1.png"], channels=3)
    assert found == fit
    assert cat is not None and cat.whole.shape == (20, 60, 3)
    assert cat.seen.shape == ((20, 20, 3) if fit == "crop" else (60, 60, 3))
    assert dog is None
    assert "1.png: not there" in capsys.readouterr().out
