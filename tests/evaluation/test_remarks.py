"""Remarks of data_report.csv by kind."""

import pandas as pd

from imageclf.evaluation.report import Remark, remarks_by_kind
from imageclf.images.checks import ALL


def test_each_kind_and_action_has_a_count_and_two_examples_and_a_single_one_its_text() -> None:
    lines = [
        ("a/1.png", "duplicate: same picture as a/0.png", "used"),
        ("a/2.png", "duplicate: same picture as b: (1).png", "used"),
        ("a/3.png", "duplicate: same picture as a/0.png", "used"),
        ("a/4.txt", "not a picture (PNG, JPEG can be read)", "dropped"),
        ("class NA", "no test image: its share is left to chance", "used"),
        ("a/.x", "hidden", "left out"),
        (ALL, "cut away: half of 12 pictures (16:9 loses 44 %); look at them", "used"),
        (ALL, "near-copies: 2 of 3 pairs across splits", "used"),
        (ALL, "near-copies: only crops that cut off little are found", "used"),
    ]
    assert remarks_by_kind(pd.DataFrame(lines, columns=["path", "problem", "action"])) == [
        Remark("not a picture (PNG, JPEG can be read)", "dropped", 1, ["a/4.txt"]),
        Remark("hidden", "left out", 1, ["a/.x"]),
        Remark("cut away: half of 12 pictures (16:9 loses 44 %); look at them", "used", 1, [ALL]),
        Remark("duplicate", "used", 3, ["a/1.png", "a/2.png"]),
        Remark("near-copies: 2 of 3 pairs across splits", "used", 1, [ALL]),
        Remark("near-copies: only crops that cut off little are found", "used", 1, [ALL]),
        Remark("no test image: its share is left to chance", "used", 1, ["class NA"]),
    ]


def test_nothing_found_is_no_remark() -> None:
    assert remarks_by_kind(pd.DataFrame(columns=["path", "problem", "action"], dtype=str)) == []
