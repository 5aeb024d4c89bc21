"""Coverage and precision against counts by hand."""

import numpy as np
import pytest

from imageclf.evaluation.calibration import choose_threshold, coverage_table, selected

CONFIDENCE = np.array([0.9, 0.5, 0.8, 0.7, 0.7])
RIGHT = np.array([True, False, True, False, True])


def test_the_table_is_the_one_worked_out_by_hand() -> None:
    table = coverage_table(CONFIDENCE, RIGHT)
    assert table["threshold"].tolist() == [0.9, 0.8, 0.7, 0.5]
    assert table["coverage"].tolist() == [0.2, 0.4, 0.8, 1.0]
    assert table["precision"].tolist() == [1.0, 1.0, 0.75, 0.6]


def test_a_large_table_has_a_hundred_lines_and_ends_with_all_images() -> None:
    random = np.random.default_rng(0)
    confidence, right = random.random(5000), random.random(5000) < 0.7
    table = coverage_table(confidence, right)
    assert len(table) == 100
    assert (np.diff(table["coverage"]) > 0).all()
    assert (np.diff(table["threshold"]) < 0).all()
    assert table["coverage"].iloc[-1] == 1
    assert table["precision"].iloc[-1] == right.mean()


@pytest.mark.parametrize(("precision", "threshold"), [(1.0, 0.8), (0.75, 0.7), (0.76, 0.8), (0.6, 0.5), (0.1, 0.5)])
def test_the_threshold_is_the_lowest_that_is_precise_enough(precision: float, threshold: float) -> None:
    assert choose_threshold(CONFIDENCE, RIGHT, precision) == threshold


def test_no_threshold_where_the_surest_is_wrong() -> None:
    assert choose_threshold(np.array([0.9, 0.8]), np.array([False, True]), 0.9) is None


def test_what_is_chosen_keeps_the_precision_whatever_the_answers() -> None:
    for seed in range(50):
        random = np.random.default_rng(seed)
        confidence = random.random(300).round(2)
        right = random.random(300) < confidence
        threshold = choose_threshold(confidence, right, 0.9)
        if threshold is not None:
            sure, correct = selected(confidence, right, threshold)
            assert correct / sure >= 0.9
