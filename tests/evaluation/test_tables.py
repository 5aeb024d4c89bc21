"""Tables against counts made by hand."""

import numpy as np
import pytest

from imageclf.evaluation.tables import class_table, confusion_counts, confusion_table

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
