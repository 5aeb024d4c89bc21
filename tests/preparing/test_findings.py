"""The report: readable in a spreadsheet, and honest about whole classes."""

from pathlib import Path

import pandas as pd
import pytest

from stages.preparing.findings import DROPPED, Finding, cell, class_remarks, write_report


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_what_a_spreadsheet_would_compute_becomes_text(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a.png", "a=b", "ant/-1.png", "'quoted'"])
def test_other_text_stays(text: str) -> None:
    assert cell(text) == text


def test_a_report_can_be_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hostile = ['b/<img src=x onerror="1">.png', "a/\ud800,;\"'\n.png", "=cmd|' /C calc'!A0"]
    findings = [Finding(path, "damaged", "cannot be read (x)", DROPPED) for path in hostile]
    write_report(findings, [{"path": "-link", "problem": "a link", "action": "left out"}])
    table = pd.read_csv("metrics/data_report.csv", dtype=str, keep_default_na=False)
    assert table["path"].tolist() == ["'-link", "'" + hostile[2], "a/\\ud800,;\"'\\n.png", hostile[0]]
    assert table["problem"].tolist() == ["a link", *["damaged: cannot be read (x)"] * 3]


def test_rare_and_empty_classes_are_named() -> None:
    counts = {
        "ant": {"train": 100, "val": 5, "test": 5},
        "bee": {"train": 9, "val": 0, "test": 1},
        "cat": {"train": 10, "val": 1, "test": 0},
    }
    found = [(finding.path, finding.kind) for finding in class_remarks(counts)]
    assert found == [("class bee", "imbalance"), ("class bee", "no val image"), ("class cat", "no test image")]
