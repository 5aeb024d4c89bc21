"""The table and the advice at the end of a sweep, and the warnings before its first run."""

import itertools

import pytest

from tools.sweeping.grid import Run, remarks
from tools.sweeping.results import Failure, advice
from tools.sweeping.table import rank, table_lines


def grid(**values: str) -> list[Run]:
    """Every combination of values of params of train, with blanks between them."""
    keys = [f"train.{key}" for key in values]
    return [
        Run(dict(zip(keys, each, strict=True)), "-".join(each))
        for each in itertools.product(*(words.split() for words in values.values()))
    ]


def lines(runs: list[Run], *top1: float | str) -> list[str]:
    """The table of these runs, each with its validation top-1 or with what it failed of."""
    ended = dict(zip(runs, top1, strict=True))
    failures = {run: Failure(kind, "") for run, kind in ended.items() if isinstance(kind, str)}
    return list(table_lines(rank(runs, {k: v for k, v in ended.items() if not isinstance(v, str)}, failures)))


def test_what_all_runs_have_in_common_is_left_out() -> None:
    assert lines(grid(optimizer="sgd", lr="0.1 0.3"), 0.9, 0.7)[0].split() == ["lr", *HEAD]
    assert lines(grid(seed="0 1 2"), 0.9, 0.9, 0.8)[0].split() == HEAD


HEAD = ["runs", "val", "top-1", "sd", "95", "%", "interval"]


def test_one_seed_is_said_to_be_no_answer() -> None:
    said = "\n".join(lines(grid(lr="0.1 0.3"), 0.9, 0.7))
    assert "One run per recipe is not enough" in said
    assert "tools.compare" not in said


def test_equal_recipes_are_tied() -> None:
    assert "  The first 2 are tied; " in "\n".join(lines(grid(lr="0.1 0.3 0.5"), 0.9, 0.9, 0.7))


def test_an_interval_ends_at_100_percent() -> None:
    runs = grid(seed="0 1")
    # Mean 0.995, standard deviation 0.00707, two values: 12.706 * 0.00707 / sqrt(2) = 0.0635.
    interval = rank(runs, dict(zip(runs, (0.99, 1.0), strict=True)), {})[0].interval
    assert interval == pytest.approx((0.995 - 0.0635, 1.0), abs=1e-4)


def test_a_failed_seed_stands_beside_the_mean_of_the_others() -> None:
    head, first, second, *_ = lines(grid(lr="0.1 0.3", seed="0 1"), 0.9, "data", 0.7, 0.7)
    assert head.split() == ["lr", *HEAD, "failed"]
    assert first.split() == ["0.1", "1", "90.00", "%", "–", "–", "seed", "1", "data"]
    assert second.split()[:2] == ["0.3", "2"]


def test_where_all_failed_nothing_is_best() -> None:
    runs = grid(lr="0.1 0.3")
    table = lines(runs, "no source", "stopped")
    assert [row.split() for row in table[1:]] == [["0.1", "0", *"–––", "no", "source"], ["0.3", "0", *"–––", "stopped"]]
    kinds = {"lr 0.1": Failure("no source", ""), "lr 0.3": Failure("stopped", "")}
    assert advice(kinds) == "run the same line again to run lr 0.1; run the same line again to continue lr 0.3"


def test_what_a_ranking_cannot_say_is_said_before_the_first_run() -> None:
    (said,) = remarks(grid(seed="0 1"))
    assert "only one recipe, so there is nothing to rank" in said
    (said,) = remarks([Run({"prepare.seed": seed}, seed) for seed in "01"])
    assert "with prepare.seed the validation images change too" in said
    assert not remarks(grid(lr="0.1 0.3"))
