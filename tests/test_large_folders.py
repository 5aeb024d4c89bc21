"""What download, prepare and evaluate keep in memory for each image of a large folder.

The bounds are twice what docs/own-images.md gives. A Path, a row as a dataclass or a dict entry per image breaks them.
"""

import csv
import gc
import hashlib
import json
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imageclf.datasets import folder
from imageclf.datasets.folder import Line, make_manifest
from imageclf.evaluation.calibration import fit_temperature
from imageclf.evaluation.metrics import accuracy_figures
from imageclf.evaluation.scores import Answers
from imageclf.images import likeness, selection
from imageclf.images.manifest import File, LeftOut
from imageclf.images.outcomes import Outcome
from imageclf.runtime.files import write_sums
from stages import prepare
from tests.imports import ROOT

SMALL, LARGE = 1_000, 11_000  # images
CLASSES = [f"class {number:02d}" for number in range(50)]


def growth(work: Callable[[int], object]) -> float:
    """Bytes that Python and numpy hold at most during `work` of a number of images, for each further image."""
    work(SMALL)  # what is imported or compiled once is not counted
    peaks = []
    for count in (SMALL, LARGE):
        gc.collect()
        tracemalloc.start()
        try:
            work(count)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    print("GROWTH", peaks, (peaks[1] - peaks[0]) / (LARGE - SMALL))
    return (peaks[1] - peaks[0]) / (LARGE - SMALL)


def names(count: int) -> list[str]:
    return sorted(f"{CLASSES[number % len(CLASSES)]}/photograph {number:09d}.jpg" for number in range(count))


def test_download_keeps_little_more_than_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "PART", 256)  # files at a time
    for count in (SMALL, LARGE):
        for name in CLASSES:
            (tmp_path / str(count) / name).mkdir(parents=True)
        for path in names(count):
            (tmp_path / str(count) / path).touch()

    def listed(count: int) -> None:
        assert sum(1 for _ in make_manifest([str(tmp_path / str(count))]).rows()) == count

    assert growth(listed) < 80


def test_prepare_keeps_some_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def outcomes(files: Sequence[File], *_: object, **__: object) -> Iterator[tuple[int, Outcome]]:
        for index in range(len(files)):
            yield index, Outcome(hashlib.sha256(b"%d" % index).digest(), 16, 16, "RGB", brightest=200)

    monkeypatch.setattr(selection, "decode_files", outcomes)
    monkeypatch.setattr(likeness, "TILE", 32)  # pictures at a time
    params = (ROOT / "params.yaml").read_text().replace("  size: auto ", "  size: 8 ", 1)
    for count in (SMALL, LARGE):
        raw = tmp_path / str(count) / "data/raw"
        raw.mkdir(parents=True)
        (tmp_path / str(count) / "params.yaml").write_text(params)
        facts: dict[str, Any] = {"name": "photos", "kind": "files", "classes": CLASSES, "roots": ["photos"]}
        (raw / "dataset.json").write_text(json.dumps(facts))
        (raw / "left_out.csv").write_text(",".join(LeftOut._fields) + "\n")
        with (raw / "files.csv").open("w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(Line._fields)
            for path in names(count):
                rows.writerow([0, path, path.split("/")[0], "", "", 700, hashlib.sha256(path.encode()).hexdigest()])
        write_sums(raw)

    def prepared(count: int) -> None:
        monkeypatch.chdir(tmp_path / str(count))
        prepare.main()

    assert growth(prepared) < 220


def test_scores_keep_some_numbers_of_a_thousand_classes(tmp_path: Path) -> None:
    def scored(count: int) -> None:
        logits = np.memmap(tmp_path / str(count), np.float32, "w+", shape=(count, 1000))  # 4,000 bytes per image
        logits[:, 7] = 1
        answers = Answers(logits, np.arange(count) % 1000)
        assert accuracy_figures(answers)["images"] == count
        fit_temperature(answers.logits[:100], answers.labels[:100])

    assert growth(scored) < 100
