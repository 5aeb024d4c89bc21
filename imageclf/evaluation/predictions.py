"""predictions.csv: the answer for each test image. It is read without pandas, which takes longer than the reading."""

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

EVERY_CLASS = 100  # classes; with more, the table has only the best ones
BEST = 5  # classes per image then
COLUMNS = ["id", "path", "label", "prediction", "confidence"]
LEAST = 5e-7  # the largest probability that the file's 6 digits round to 0


def prediction_table(samples: "pd.DataFrame", probabilities: np.ndarray, names: list[str]) -> "pd.DataFrame":
    """One row per image: id, path, label, prediction, confidence, and `p_CLASS` for each class.

    `probabilities` is (N, classes). With more than 100 classes the `p_` columns give way to label_probability and the
    next best classes: answer_2, probability_2 to answer_5, probability_5.
    """
    import pandas as pd

    named, best = np.array(names, dtype=object), probabilities.argmax(axis=1)
    answers = samples[["id", "path", "label"]].assign(prediction=named[best], confidence=probabilities.max(axis=1))
    if len(names) > EVERY_CLASS:
        places, every = {name: place for place, name in enumerate(names)}, np.arange(len(samples))
        answers["label_probability"] = probabilities[every, [places[name] for name in samples["label"]]]
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :BEST]
        for rank in range(2, BEST + 1):
            place = order[:, rank - 1]
            answers[f"answer_{rank}"] = named[place]
            answers[f"probability_{rank}"] = probabilities[every, place]
        return answers
    each = pd.DataFrame(probabilities, columns=[f"p_{name}" for name in names], index=samples.index)
    return pd.concat([answers, each], axis=1)


def most_confident_mistakes(correct: np.ndarray, confidence: np.ndarray, count: int) -> np.ndarray:
    """Positions of at most `count` wrong predictions, the most confident first; ties keep their order.

    `correct` is bool (N,), and `confidence` the probability of each prediction (N,).
    """
    wrong = np.flatnonzero(~correct)
    return wrong[np.argsort(-confidence[wrong], kind="stable")[:count]]


@dataclass(frozen=True)
class Predictions:
    """Label, prediction and confidence of each of N test images. Text arrays hold str."""

    md5: str
    ids: list[str]
    paths: list[str]
    labels: np.ndarray
    answers: np.ndarray
    confidences: np.ndarray
    probabilities: np.ndarray  # of the label

    @property
    def correct(self) -> np.ndarray:
        """Whether each prediction is the label, bool (N,)."""
        return self.answers == self.labels

    @property
    def losses(self) -> np.ndarray:
        """The loss of each image in nats, (N,); probabilities are at least half of the file's last digit."""
        return -np.log(np.maximum(self.probabilities, LEAST))


def parse_predictions(text: str, md5: str) -> Predictions:
    """Read the content of predictions.csv, whose hash is `md5`.

    Raises:
        ValueError, KeyError, IndexError, csv.Error: it is not a table of predictions.
    """
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    if header[: len(COLUMNS)] != COLUMNS or not rows:
        raise ValueError(header)
    # A class may have any name: find its column by place. With many classes there is only the label's column.
    column = {name.removeprefix("p_"): place for place, name in enumerate(header) if place >= len(COLUMNS)}
    own = header.index("label_probability") if "label_probability" in header else None
    ids, paths, labels, answers, confidences = zip(*(row[: len(COLUMNS)] for row in rows), strict=True)
    return Predictions(
        md5,
        list(ids),
        list(paths),
        np.array(labels, dtype=object),
        np.array(answers, dtype=object),
        np.array(confidences, dtype=float),
        np.array([float(row[column[row[2]] if own is None else own]) for row in rows]),
    )


def parse_best(text: str) -> tuple[np.ndarray, np.ndarray]:
    """The best classes of each image, (N, K) of str, and their probabilities (N, K), from predictions.csv.

    K is 5, or the number of classes if that is less.
    """
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    if "label_probability" in header:
        names = ["prediction", *(f"answer_{rank}" for rank in range(2, BEST + 1))]
        figures = ["confidence", *(f"probability_{rank}" for rank in range(2, BEST + 1))]
        at, of = ([header.index(column) for column in columns] for columns in (names, figures))
        return (
            np.array([[row[place] for place in at] for row in rows], dtype=object),
            np.array([[float(row[place]) for place in of] for row in rows]),
        )
    classes = np.array([name.removeprefix("p_") for name in header[len(COLUMNS) :]], dtype=object)
    every = np.array([row[len(COLUMNS) :] for row in rows], dtype=float)
    order = np.argsort(-every, axis=1, kind="stable")[:, :BEST]
    return classes[order], np.take_along_axis(every, order, axis=1)
