"""What is kept of the turns, and the page that is drawn from it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import speed_figures
from benchmarks.accuracy import accuracy_figures, notes_epochs
from benchmarks.chart import draw_speed
from benchmarks.lineup import CONTESTANTS, PAIRS, PEAK
from benchmarks.results import keep
from benchmarks.scaling import CELLS, scaling_figures
from benchmarks.tables import markdown, table

MADE_WITH = {"torch": "2.0", "processor_kind": "AVX2"}


def turn(rate: float, **more: Any) -> dict[str, Any]:
    known = {"images_per_second": rate, "flops_per_image": 10**9, "precision": "bf16", "finish_seconds": 7.0}
    return known | {"peak_memory": 3e8, "peak_own_memory": 2e8, "made_with": MADE_WITH} | more


def turns_of(**rates: Sequence[float]) -> dict[str, list[dict[str, Any]]]:
    peak = [{"fp32": 100.0, "bf16": 400.0, "made_with": MADE_WITH} for _ in next(iter(rates.values()))]
    return {PEAK: peak} | {name: [turn(rate) for rate in taken] for name, taken in rates.items()}


def rows_of(text: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]


def test_ratios_are_taken_round_by_round() -> None:
    # The medians' own ratio is 10, and no two turns beside each other had it.
    figures = speed_figures(
        turns_of(**{"ours-large": [400, 200, 100], "notes-script": [1, 1, 1], "record": [10, 40, 20]})
    )
    assert figures["ratios"] == {"ours-large / record": {"median": 5, "low": 5, "high": 40}}


def test_the_share_of_the_peak_is_of_the_same_precision() -> None:
    figures = speed_figures(turns_of(ours=[100, 100, 100]))
    assert figures["contestants"]["ours"]["share_of_peak"] == 0.25
    assert figures["contestants"]["ours"]["epoch_seconds"] == 450


def test_every_row_of_the_page_has_as_many_cells_as_its_titles() -> None:
    speed = speed_figures(turns_of(**{name: [10.0, 20.0, 30.0] for name in CONTESTANTS}))
    scaling = scaling_figures({cell: [turn(50, images=100, size=[32, 32])] for cell in CELLS})
    run = dict.fromkeys(("top1_percent", "train_seconds", "evaluate_seconds", "notes_top1_percent"), 1.0)
    accuracy = {
        "default": accuracy_figures([run | {"seed": 0, "notes_seconds": 2.0}], {}, {"torch": "2", "processor": "x"})
    }
    page = markdown({"AVX2": {"speed": speed, "scaling": scaling, "accuracy": accuracy}})
    tables = [part for part in page.split("\n\n") if part.startswith("|")]
    assert len(tables) == 4
    for drawn in tables:
        assert len({len(row) for row in rows_of(drawn)}) == 1, drawn
    assert len(rows_of(tables[0])) == 2 + len(CONTESTANTS)
    assert len(rows_of(tables[1])) == 2 + len(PAIRS)


def test_a_bar_within_a_cell_is_no_border() -> None:
    assert table(["a"], [["x|y"]]).splitlines()[-1] == "| x\\|y |"


def test_the_record_as_a_whole_is_eight_epochs_and_the_answers() -> None:
    speed = speed_figures(turns_of(record=[500, 500, 500]))
    assert "would take 807 s here" in markdown({"AVX2": {"speed": speed}})


def test_a_section_is_renewed_and_the_others_stay(tmp_path: Path) -> None:
    results, page = tmp_path / "results.json", tmp_path / "RESULTS.md"
    scaling = scaling_figures({cell: [turn(50, images=100, size=[32, 32])] for cell in CELLS})
    keep("scaling", scaling, "AVX2", results=results, page=page)
    keep("speed", speed_figures(turns_of(ours=[5.0])), "AVX512", results=results, page=page)
    for rate in (10.0, 20.0):
        keep("speed", speed_figures(turns_of(ours=[rate])), "AVX2", results=results, page=page)
    kept = json.loads(results.read_text())
    assert kept["AVX2"]["scaling"] == scaling
    assert kept["AVX2"]["speed"]["contestants"]["ours"]["images_per_second"]["median"] == 20
    assert kept["AVX512"]["speed"]["contestants"]["ours"]["images_per_second"]["median"] == 5
    assert page.read_text().count("\n## ") == 3


def test_the_chart_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    figures = speed_figures(turns_of(**{"ours": [3000, 2900, 3100], "notes-script": [900, 1000, 800]}))
    for name in ("a.png", "b.png"):
        draw_speed(figures, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_accuracy_is_a_mean_over_seeds_and_time_a_mean_of_ratios() -> None:
    runs = [
        {"seed": seed, "top1_percent": top1, "train_seconds": seconds, "notes_seconds": 20.0}
        for seed, top1, seconds in ((0, 91.0, 100.0), (1, 93.0, 120.0))
    ]
    figures = accuracy_figures(runs, {}, {"torch": "2.0", "processor": "AVX2"})
    assert figures["top1_percent"] == {"mean": 92.0, "deviation": pytest.approx(1.414, abs=1e-3)}
    assert figures["train_to_notes"] == 5.5


def test_the_notes_epochs_are_read_from_what_their_script_prints() -> None:
    assert notes_epochs("epoch 1: 21.5 s, test top-1 27.01 %\nepoch 2: 20.0 s, test top-1 38.97 %\n") == [
        (21.5, 27.01),
        (20.0, 38.97),
    ]
