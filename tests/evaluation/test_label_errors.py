"""Exchanged labels are found among the answers of an imperfect classifier, and a hard class is no suspect for that."""

import numpy as np
import pandas as pd
import pytest

from imageclf.evaluation.label_errors import Suspects, find_suspects
from imageclf.evaluation.predictions import parse_best, prediction_table

CLASSES = 5


def suspects(labels: np.ndarray, probabilities: np.ndarray) -> Suspects:
    """From probabilities (N, classes) of all classes, labels and likelier classes being their numbers."""
    order = np.argsort(-probabilities, axis=1)
    own = probabilities[np.arange(len(labels)), labels]
    return find_suspects(labels, own, order, np.take_along_axis(probabilities, order, 1))


def answers(truth: np.ndarray, *, sure: float, seed: int) -> np.ndarray:
    """Probabilities (N, classes) of a classifier that is right more often, the surer it is."""
    logits = np.random.default_rng(seed).normal(size=(len(truth), CLASSES)) + sure * np.eye(CLASSES)[truth]
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


@pytest.mark.parametrize(("sure", "least"), [(2.0, 0.6), (3.0, 0.85), (5.0, 0.99)])
def test_exchanged_labels_lead_the_list(sure: float, least: float) -> None:
    draw = np.random.default_rng(1)
    truth = draw.integers(0, CLASSES, 2000)
    wrong = draw.random(2000) < 0.1
    labels = np.where(wrong, (truth + draw.integers(1, CLASSES, 2000)) % CLASSES, truth)
    found = suspects(labels, answers(truth, sure=sure, seed=2))
    first = found.places[:150]
    assert wrong[first].mean() >= least
    named = wrong[first]
    assert (found.likelier[:150] == truth[first])[named].mean() > 0.8


def test_right_labels_of_a_sure_classifier_are_no_suspects() -> None:
    truth = np.arange(500) % CLASSES
    assert len(suspects(truth, answers(truth, sure=30.0, seed=3)).places) == 0


def test_a_class_that_is_hard_for_the_classifier_is_not_suspected_for_that() -> None:
    """Its images get 0.3 and another class 0.6, where that class's own images get 0.95."""
    labels = np.repeat([0, 1], 100)
    probabilities = np.where(labels[:, None] == 0, [0.95, 0.03, 0.02], [0.6, 0.3, 0.1])
    assert len(suspects(labels, probabilities).places) == 0
    probabilities[150] = [0.97, 0.02, 0.01]
    assert suspects(labels, probabilities).places.tolist() == [150]


@pytest.mark.parametrize("classes", [3, 6, 120])
def test_the_best_classes_are_read_from_either_kind_of_table(classes: int) -> None:
    names = [f"p_{number}" for number in range(classes)]
    probabilities = np.random.default_rng(4).dirichlet(np.full(classes, 0.1), 50)
    samples = pd.DataFrame({"id": range(50), "path": "x", "label": names[0]})
    text = prediction_table(samples, probabilities, names).to_csv(index=False)
    best, figures = parse_best(text)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    assert best.tolist() == np.array(names, object)[order].tolist()
    assert np.allclose(figures, np.take_along_axis(probabilities, order, 1))
