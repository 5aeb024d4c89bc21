"""Predictions are read as evaluate writes them, of few classes and of many."""

import numpy as np
import pandas as pd
import pytest

from imageclf.evaluation.tables import prediction_table
from tools.comparing.predictions import _parse


@pytest.mark.parametrize("classes", [3, 101])
def test_the_probability_of_the_label_is_found(classes: int) -> None:
    names = ["label_probability", "", "NA", *(f"c{number}" for number in range(classes))][:classes]
    probabilities = np.full((3, classes), 0.1)
    probabilities[0, 0], probabilities[1, 1], probabilities[2, 0] = 0.7, 0.6, 0.5
    samples = pd.DataFrame({"id": list("abc"), "path": list("abc"), "label": [names[0], names[1], names[2]]})
    read = _parse(prediction_table(samples, probabilities, names).to_csv(index=False), "")
    assert read.probabilities.tolist() == [0.7, 0.6, 0.1]
    assert read.answers.tolist() == [names[0], names[1], names[0]]
    assert read.correct.tolist() == [True, True, False]
