"""Tables against counts made by hand."""

import numpy as np
import pandas as pd
import pytest

from imageclf.evaluation.tables import (
    class_table,
    confusion_counts,
    confusion_table,
    most_confident_mistakes,
    prediction_table,
)

NAMES = ["ant", "bee", "cat"]
#                           taken for: ant bee cat
COUNTS = np.array([[2, 1, 0], [0, 3, 0], [0, 0, 0]])


def test_confusion_counts_actual_in_rows_and_predicted_in_columns() -> None:
    labels, predictions = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 0, 1, 1, 1])
    assert (confusion_counts(labels, predictions, 3) == COUNTS).all()


def test_confusion_table_has_a_line_for_every_pair() -> None:
    table = confusion_table(COUNTS, NAMES)
    assert list(table.columns) == ["actual", "predicted", "count"]
    assert len(table) == 9
    assert table[(table["actual"] == "ant") & (table["predicted"] == "bee")]["count"].item() == 1
    assert table[(table["actual"] == "bee") & (table["predicted"] == "ant")]["count"].item() == 0


def test_of_many_classes_the_confusions_stand_alone_the_most_frequent_first() -> None:
    counts = np.diag(np.full(31, 9))
    counts[3, 7], counts[8, 2] = 1, 4
    table = confusion_table(counts, [f"c{number}" for number in range(31)])
    assert table.to_dict(orient="records") == [
        {"actual": "c8", "predicted": "c2", "count": 4, "images": 13},
        {"actual": "c3", "predicted": "c7", "count": 1, "images": 10},
    ]


def test_a_thousand_classes_make_a_table_that_git_can_keep() -> None:
    names = [f"a class with a name of seventy letters, as some data sets have it, {n:03d}" for n in range(1000)]
    table = confusion_table(np.ones((1000, 1000), int), names)
    assert len(table) == 1000
    assert len(table.to_csv()) < 1_000_000


def scores(name: str) -> list[float]:
    """Precision, recall, f1 and images of one class."""
    rows = class_table(COUNTS, NAMES).to_dict(orient="records")
    return [float(rows[NAMES.index(name)][column]) for column in ("precision", "recall", "f1", "images")]


def test_precision_recall_and_f1_of_each_class() -> None:
    assert scores("ant") == pytest.approx([2 / 2, 2 / 3, 4 / 5, 3], abs=1e-6)
    assert scores("bee") == pytest.approx([3 / 4, 3 / 3, 6 / 7, 3], abs=1e-6)


def test_what_has_nothing_to_count_is_empty() -> None:
    table = class_table(np.array([[2, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]), [*NAMES, "dog"])
    assert table.iloc[1][["recall", "f1"]].tolist() == [0, 0]
    assert np.isnan(table.iloc[1]["precision"])  # never predicted
    assert table.iloc[3].drop(["class", "images"]).isna().all()
    assert table.to_csv(index=False).splitlines()[-1] == "dog,,,,,,0"
    table = class_table(np.array([[1, 1], [0, 0]]), ["ant", "bee"])
    assert table.iloc[1][["precision", "f1"]].tolist() == [0, 0]
    assert table.iloc[1][["recall", "recall_low", "recall_high"]].isna().all()  # no test images


def test_recall_has_an_interval_that_narrows_with_the_images() -> None:
    few, many = (class_table(times * COUNTS, NAMES) for times in (1, 100))
    widths = [(table["recall_high"] - table["recall_low"]).tolist() for table in (few, many)]
    assert widths[1][0] < widths[0][0] / 5


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
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.2, 0.8], [0.4, 0.6]])
    labels = np.array([0, 1, 1, 0, 0])  # the first is right
    assert most_confident_mistakes(labels, probabilities, 10).tolist() == [2, 3, 1, 4]
    assert most_confident_mistakes(labels, probabilities, 2).tolist() == [2, 3]
    assert most_confident_mistakes(labels, probabilities, 0).tolist() == []
