"""What counts as the same answer."""

import math
from pathlib import Path

import numpy as np
import pytest

from imageclf.export.agreement import accuracy_lost, agreement, check_agreement, check_lost, fresh_answers
from imageclf.runtime.errors import UserError

TRAINED = np.array([[0.7, 0.3], [0.50004, 0.49996], [0.2, 0.8]])


def test_scores_are_those_worked_out_by_hand() -> None:
    answers = np.array([[0.5, 0.5], [0.25, 0.75], [0.0, 1.0]], np.float32)
    assert agreement(answers, TRAINED, np.array([0, 0, 1])) == {
        "loss": round((math.log(2) + math.log(4) + 0) / 3, 6),
        "top1": round(2 / 3, 6),
        "same": 2,
        "images": 3,
        "largest_difference": 0.25004,
    }


def test_a_probability_of_zero_costs_much_and_not_infinity() -> None:
    report = agreement(np.array([[0.0, 1.0]], np.float32), np.array([[0.0, 1.0]]), np.array([0]))
    assert report["loss"] == pytest.approx(87.336545)  # -log of the smallest normal float32


def test_only_two_classes_that_tie_may_change_places() -> None:
    check_agreement("classifier.onnx", np.array([[0.7, 0.3], [0.4999, 0.5001], [0.2, 0.8]]), TRAINED)
    trained = np.array([[0.7, 0.3], [0.5004, 0.4996]])
    with pytest.raises(UserError, match=r"classifier\.onnx disagrees .* on 1 of 2 test images .* number 1\)"):
        check_agreement("classifier.onnx", np.array([[0.7, 0.3], [0.4999, 0.5001]]), trained)


@pytest.mark.parametrize("answers", [TRAINED**0.9, np.where(TRAINED == 0.8, np.nan, TRAINED)], ids=["softer", "nan"])
def test_the_same_classes_with_other_probabilities_do_not_pass(answers: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"onnx gives probabilities up to (\d\S+|nan) from .* number [02]\)"):
        check_agreement("classifier.onnx", answers, TRAINED)


def test_what_a_smaller_file_loses_is_right_less_wrong() -> None:
    labels = np.zeros(100, int)
    trained, answers = np.tile([[0.9, 0.1]], (100, 1)), np.tile([[0.8, 0.2]], (100, 1))
    trained[:5] = answers[3:15] = [0.3, 0.7]  # right 95 times and 88 times: 3 have become right, and 10 wrong
    lost = accuracy_lost(answers, trained, labels)
    assert lost["lost"] == pytest.approx(0.07)
    assert lost["lost_low"] < 0.07 < lost["lost_high"] < 0.16
    check_lost("classifier_int8.onnx", lost, most=0.08)
    with pytest.raises(UserError, match=r"int8\.onnx loses 7\.00 points of top-1 .* export\.int8_loss allows 6, so"):
        check_lost("classifier_int8.onnx", lost, most=0.06)


def test_a_file_that_does_not_run_is_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "classifier.onnx"
    broken.write_bytes(b"no model")
    np.save(tmp_path / "images.npy", np.zeros((1, 2, 2, 3), np.uint8))
    with pytest.raises(UserError, match=r"classifier\.onnx does not run in a fresh process \(.*\), so nothing was"):
        fresh_answers("imageclf.export.onnx_answers", broken, tmp_path / "images.npy")
