"""Scores against figures worked out by hand."""

import math

import numpy as np
import pytest

from imageclf.evaluation.scores import Answers, log_softmax, top_k_accuracy


def test_cross_entropy_is_minus_log_p() -> None:
    logits = np.array([[math.log(3), 0], [math.log(3), 0]], np.float32)  # p = 3/4, 1/4
    assert Answers(logits, np.array([0, 1])).losses == pytest.approx([math.log(4 / 3), math.log(4)])


def test_equal_logits_of_ten_classes_cost_ln_10() -> None:
    assert Answers(np.zeros((7, 10), np.float32), np.arange(7)).losses == pytest.approx([2.302585093] * 7)


def test_large_logits_do_not_overflow() -> None:
    assert Answers(np.array([[1e4, -1e4]], np.float32), np.array([1])).losses == pytest.approx([2e4])


def test_probabilities_sum_to_one() -> None:
    logits = np.array([[1e3, 0, -1e3], [0.1, 0.2, 0.3]], np.float32)
    assert np.exp(log_softmax(logits)).sum(axis=1) == pytest.approx([1, 1])


def test_top_k_counts_labels_among_the_k_best() -> None:
    answers = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    labels = np.array([0, 1, 2, 2])
    assert [top_k_accuracy(answers, labels, k) for k in (1, 2, 3)] == [0.5, 0.75, 1.0]


def test_of_equal_answers_the_lower_class_is_better_as_in_argmax() -> None:
    answers = np.array([[0.5, 0.5], [0.5, 0.5]])
    assert top_k_accuracy(answers, np.array([0, 1]), 1) == 0.5


def test_with_fewer_classes_than_k_every_answer_counts() -> None:
    assert top_k_accuracy(np.array([[0.9, 0.1]]), np.array([1]), 5) == 1
