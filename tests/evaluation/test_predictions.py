"""Predictions as evaluate writes them and as compare reads them, of few classes and of many."""

import numpy as np
import pandas as pd
import pytest

from imageclf.evaluation.predictions import most_confident_mistakes, parse_predictions, prediction_table

NAMES = ["ant", "bee", "cat"]


@pytest.mark.parametrize("classes", [3, 101])
def test_the_probability_of_the_label_is_found(classes: int) -> None:
    names = ["label_probability", "", "NA", *(f"c{number}" for number in range(classes))][:classes]
    probabilities = np.full((3, classes), 0.1)
    probabilities[0, 0], probabilities[1, 1], probabilities[2, 0] = 0.7, 0.6, 0.5
    samples = pd.DataFrame({"id": list("abc"), "path": list("abc"), "label": [names[0], names[1], names[2]]})
    read = parse_predictions(prediction_table(samples, probabilities, names).to_csv(index=False), "")
    assert read.probabilities.tolist() == [0.7, 0.6, 0.1]
    assert read.answers.tolist() == [names[0], names[1], names[0]]
    assert read.correct.tolist() == [True, True, False]


def test_predictions_carry_the_answer_its_confidence_and_every_class() -> None:
    samples = pd.DataFrame({"id": ["7"], "path": ["a/7"], "label": ["bee"], "split": ["test"]}, index=[4])
    row = prediction_table(samples, np.array([[0.2, 0.1, 0.7]]), NAMES).iloc[0]
    assert row.to_dict() == {
        "id": "7",
        "path": "a/7",
        "label": "bee",
        "prediction": "cat",
        "confidence": 0.7,
        "p_ant": 0.2,
        "p_bee": 0.1,
        "p_cat": 0.7,
    }


def test_of_many_classes_the_label_and_the_best_five_are_kept() -> None:
    names = [f"c{number}" for number in range(101)]
    samples = pd.DataFrame({"id": ["7"], "path": ["a/7"], "label": ["c9"], "split": ["test"]}, index=[4])
    probabilities = np.zeros((1, 101))
    probabilities[0, [5, 100, 9, 3]] = 0.4, 0.3, 0.2, 0.1
    assert prediction_table(samples, probabilities, names).iloc[0].to_dict() == {
        "id": "7",
        "path": "a/7",
        "label": "c9",
        "prediction": "c5",
        "confidence": 0.4,
        "label_probability": 0.2,
        "answer_2": "c100",
        "probability_2": 0.3,
        "answer_3": "c9",
        "probability_3": 0.2,
        "answer_4": "c3",
        "probability_4": 0.1,
        "answer_5": "c0",
        "probability_5": 0.0,
    }
    assert "p_c99" in prediction_table(samples, probabilities[:, :100], names[:100])


def test_mistakes_come_most_confident_first_and_ties_in_order() -> None:
    confidence = np.array([0.9, 0.6, 0.8, 0.8, 0.6])
    correct = np.array([True, False, False, False, False])
    assert most_confident_mistakes(correct, confidence, 10).tolist() == [2, 3, 1, 4]
    assert most_confident_mistakes(correct, confidence, 2).tolist() == [2, 3]
    assert most_confident_mistakes(correct, confidence, 0).tolist() == []
