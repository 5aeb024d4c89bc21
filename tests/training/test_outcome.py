"""Which epoch counts, when training stops, and what is said of it."""

from typing import Any

import pytest

from imageclf.training.outcome import Row, best_row, ending_of, has_stalled, metrics_of
from tests.training.test_fit import recipe


def history(*top1: float) -> list[Row]:
    return [
        {"epoch": epoch, "train_loss": 1 / epoch, "train_top1": 0.5, "val_loss": 0.7, "val_top1": value, "lr": 0.1}
        for epoch, value in enumerate(top1, start=1)
    ]


def test_of_equal_epochs_the_earlier_is_best() -> None:
    assert best_row(history(0.1, 0.6, 0.6, 0.2))["epoch"] == 2


@pytest.mark.parametrize(
    ("top1", "patience", "stalled"),
    [
        ([], 1, False),
        ([0.5], 1, False),
        ([0.5, 0.5], 1, True),
        ([0.5, 0.6], 1, False),
        ([0.5, 0.4], 2, False),
        ([0.5, 0.4, 0.5], 2, True),
        ([0.5, 0.4, 0.4, 0.3], 0, False),
    ],
)
def test_patience_counts_the_epochs_since_the_best(top1: list[float], patience: int, stalled: bool) -> None:
    assert has_stalled(history(*top1), patience) == stalled


def test_metrics_name_the_epoch_only_where_the_best_is_kept() -> None:
    rows = history(0.2, 0.8, 0.6)
    last = metrics_of(rows, keep="last", parameters=7)
    best = metrics_of(rows, keep="best", parameters=7)
    assert "epoch" not in last
    assert last["val"] == {"loss": 0.7, "top1": 0.6}
    assert best["epoch"] == 2
    assert best["val"] == {"loss": 0.7, "top1": 0.8}
    assert best["train"] == {"loss": 0.5, "top1": 0.5}


@pytest.mark.parametrize(
    ("changes", "ending"),
    [
        ({"epochs": 3}, ", val top-1 60.00 %"),
        ({"epochs": 3, "keep": "best"}, " of epoch 2, val top-1 80.00 %"),
        (
            {"epochs": 9, "keep": "best", "patience": 1},
            " of epoch 2, val top-1 80.00 %, stopped at epoch 3/9: no better one since 2",
        ),
    ],
)
def test_the_closing_line_says_what_is_kept(changes: dict[str, Any], ending: str) -> None:
    assert ending_of(history(0.2, 0.8, 0.6), recipe(**changes)) == ending
