"""The report: readable in a spreadsheet, and honest about whole classes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from imageclf.images.checks import (
    DROPPED,
    USED,
    Finding,
    cell,
    class_remarks,
    console_lines,
    name_remarks,
    no_validation,
    one_picture_classes,
    set_remarks,
    write_report,
)
from imageclf.images.counts import group_remarks
from imageclf.images.manifest import LeftOut
from imageclf.images.outcomes import Outcome, Outcomes


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
    write_report(findings, [LeftOut("-link", "a link", "left out")])
    table = pd.read_csv("metrics/data_report.csv", dtype=str, keep_default_na=False)
    assert table["path"].tolist() == ["'-link", "'" + hostile[2], "a/\\ud800,;\"'\\n.png", hostile[0]]
    assert table["problem"].tolist() == ["a link", *["damaged: cannot be read (x)"] * 3]


def outcome(**facts: object) -> Outcome:
    return replace(Outcome(b"0", 60, 60, "RGB", brightest=200), **facts)  # type: ignore[arg-type]


def remarked(outcomes: list[Outcome], *, has_window: bool = False, fit: str = "crop", side: int = 8) -> dict[str, str]:
    kept = Outcomes(len(outcomes))
    for index, outcome in enumerate(outcomes):
        kept.put(index, outcome)
    found = set_remarks(kept.facts, has_window=has_window, fit=fit, side=side)
    return {finding.kind: finding.found for finding in found}


@pytest.mark.parametrize(
    ("ranges", "window"),
    [
        ([(3, 4090), (0, 1000)], "[0,4095]"),
        ([(12, 800)], "[0,1023]"),
        ([(0, 16000)], "[0,16383]"),
        ([(0, 3)], "[0,3]"),
        ([(32000, 34000), (31000, 35000)], "[31000,35000]"),
        ([(0, 4000), (0, 4000), (0, 65535)], "[0,4095]"),
    ],
)
def test_values_in_a_small_part_of_16_bits_are_told_with_the_window_that_shows_them(
    ranges: list[tuple[int, int]], window: str
) -> None:
    outcomes = [outcome(values=values) for values in ranges] + [outcome()]
    assert f"set prepare.window={window} to see them" in remarked(outcomes)["narrow range"]
    assert remarked(outcomes, has_window=True) == {}


@pytest.mark.parametrize("ranges", [[(0, 30000)], [(0, 4000), (0, 65535)], [(7, 7)], []])
def test_values_over_the_range_are_not(ranges: list[tuple[int, int]]) -> None:
    assert remarked([outcome(), *(outcome(values=values) for values in ranges)]) == {}


def test_a_window_for_no_picture_is_told() -> None:
    assert "set it to null" in remarked([outcome()], has_window=True)["no use for a window"]


def test_dark_and_blank_pictures_are_told() -> None:
    assert remarked([outcome(brightest=63), outcome(brightest=2), outcome()])["dark"].startswith("2 of 3 pictures")
    assert remarked([outcome(brightest=63), outcome(brightest=64)]) == {}
    assert remarked([outcome(blank=True), outcome()])["blank"].startswith("1 of 2 pictures")


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([(120, 40)], "1 of 1 pictures lose 67 %"),
        ([(120, 40), (40, 80), (64, 48)], "2 of 3 pictures lose 50 to 67 %"),
        ([(1920, 1080), (1080, 1920), (640, 480), (30, 20)], ""),
    ],
)
def test_pictures_of_which_half_is_cut_away_are_told(sizes: list[tuple[int, int]], words: str) -> None:
    found = remarked([outcome(width=width, height=height) for width, height in sizes])
    assert found.get("cut away", "").startswith(words) and bool(found) == bool(words)


def test_where_the_whole_is_kept_nothing_is_cut_away() -> None:
    wide = [outcome(width=200, height=50)]
    assert "cut away" in remarked(wide)
    assert not remarked(wide, fit="pad") and not remarked(wide, fit="stretch")


def test_pictures_that_are_enlarged_are_told() -> None:
    pictures = [outcome(width=128, height=96), outcome(width=100, height=130), outcome(width=640, height=480)]
    words = "2 of 3 pictures are smaller than 224 pixels and become larger, not sharper; prepare.size=100 would be"
    assert remarked(pictures, side=224)["enlarged"].startswith(words)
    assert "prepare.size=130" in remarked(pictures, side=224, fit="pad")["enlarged"]  # the longer side counts
    assert not remarked(pictures, side=100)
    assert not remarked([*pictures, outcome(width=224, height=224)], side=224)  # half of them


def test_a_class_of_one_picture_is_told() -> None:
    labels, pictures = np.array([0, 0, 1, 1, 2, 4, 4]), np.array([5, 5, 0, 1, 2, 3, 2])
    found = one_picture_classes(labels, pictures, ["ant", "bee", "cat", "dog", "elk"])
    assert [(finding.path, finding.kind) for finding in found] == [("class ant", "one picture")]
    assert console_lines(found) == ["one picture: class ant"]


def test_what_is_said_of_all_and_of_classes_that_lack_a_split_is_said_at_the_console() -> None:
    counts = {f"c{number}": {"train": 9, "val": number // 4, "test": 1} for number in range(5)}
    findings = [
        Finding("a.png", "duplicate", "x", USED),
        no_validation(40),
        *class_remarks(counts, units=dict.fromkeys(counts, 2)),
    ]
    assert console_lines(findings) == [
        "no val image: none of 40 was chosen; add images, raise prepare.val_fraction or take another prepare.seed",
        "no val image: class c0, class c1, class c2, ...",
    ]


def test_a_class_that_lacks_a_given_split_is_not_called_too_small() -> None:
    counts = {"ant": {"train": 9, "val": 1, "test": 1}, "bee": {"train": 30, "val": 0, "test": 0}}
    words = {
        finding.kind: finding.found
        for finding in class_remarks(counts, units={"ant": 11, "bee": 2}, given=frozenset({"", "test"}))
    }
    assert words == {"no val image": "under 3 different pictures or groups", "no test image": "none of its 30 is given"}


def test_a_class_that_lacks_a_given_split_may_be_misspelt_for_one_that_has_it() -> None:
    both, no_test, no_val = ({"train": 9, "val": val, "test": test} for val, test in ((1, 1), (1, 0), (0, 1)))
    counts = {"dog": both, "dgo": no_test, "doog": no_val, "a1": both, "a2": no_test, "dig": no_test}
    words = [finding.found for finding in name_remarks(counts, given=frozenset({"", "train", "test"}))]
    assert words == ["'dgo' has no test image, but 'dog' has; if they are one class, rename one"]
    assert len(name_remarks(counts, given=frozenset({"val", "test"}))) == 2
    assert name_remarks(counts, given=frozenset({""})) == []


def test_rare_and_empty_classes_are_named() -> None:
    counts = {
        "ant": {"train": 100, "val": 5, "test": 5},
        "bee": {"train": 9, "val": 0, "test": 1},
        "cat": {"train": 10, "val": 1, "test": 0},
    }
    found = [(finding.path, finding.kind) for finding in class_remarks(counts, units=dict.fromkeys(counts, 1))]
    assert found == [("class bee", "imbalance"), ("class bee", "no val image"), ("class cat", "no test image")]


def test_a_class_of_few_images_is_told() -> None:
    counts = {"ant": {"train": 8, "val": 1, "test": 1}, "bee": {"train": 7, "val": 1, "test": 1}}
    found = class_remarks(counts, units=dict.fromkeys(counts, 9))
    assert [(finding.path, finding.kind) for finding in found] == [("class bee", "few images")]
    assert console_lines(found) == ["few images: class bee"]


def test_a_class_whose_groups_went_elsewhere_with_other_classes_is_told() -> None:
    counts = {"ant": {"train": 20, "val": 1, "test": 1}, "bee": {"train": 20, "val": 1, "test": 0}}
    words = [finding.found for finding in class_remarks(counts, units={"ant": 5, "bee": 5})]
    assert words == ["its groups have other classes too, and went elsewhere; take another prepare.seed"]


def test_splits_that_groups_made_far_too_large_or_small_are_told() -> None:
    counts = {"ant": {"train": 40, "val": 1, "test": 20}, "bee": {"train": 10, "val": 1, "test": 28}}
    assert [finding.found.split(", as")[0] for finding in group_remarks(counts, {"test": 0.2, "val": 0.1})] == [
        "48% of the images are for test, where prepare.test_fraction asks for 20%",
        "2% of the images are for val, where prepare.val_fraction asks for 10%",
    ]
    assert group_remarks(counts, {"test": 0.25}) == []
