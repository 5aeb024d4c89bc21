"""Temperature and calibration error against answers that are known."""

import numpy as np
import pytest

from imageclf.evaluation import scores
from imageclf.evaluation.calibration import expected_calibration_error, fit_temperature, reliability_table
from imageclf.evaluation.metrics import accuracy_figures, findings, temperature_of, thresholds_by_precision
from imageclf.evaluation.scores import Answers, log_softmax


def drawn(temperature: float, count: int = 60_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, 5), and labels drawn with the probabilities that these have at a temperature."""
    random = np.random.default_rng(1)
    logits = random.normal(0, 3, (count, 5)).astype(np.float32)
    places = random.random(count)[:, None] > np.exp(log_softmax(logits / temperature)).cumsum(axis=1)
    return logits, np.minimum(places.sum(axis=1), 4)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_of_made_up_labels_is_found(temperature: float) -> None:
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.02)


def test_no_other_temperature_costs_less() -> None:
    logits, labels = drawn(2.0, 500)
    best = fit_temperature(logits, labels)
    least = Answers(logits, labels, best).losses.mean()
    others = [Answers(logits, labels, best * factor).losses.mean() for factor in (0.9, 0.999, 1.001, 1.1)]
    assert all(loss >= least for loss in others)


def test_calibration_takes_the_error_away() -> None:
    logits, labels = drawn(2.5)
    before, after = (
        expected_calibration_error(reliability_table(answers.highest, answers.correct))
        for answers in (Answers(logits, labels), Answers(logits, labels, fit_temperature(logits, labels)))
    )
    assert before > 0.2
    assert after < 0.01


def test_a_temperature_changes_no_prediction() -> None:
    logits, labels = drawn(1.0, 1000)
    assert (Answers(logits, labels, 7.3).predictions == logits.argmax(axis=1)).all()


def test_how_many_images_are_taken_at_a_time_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = drawn(2.0, 1001)
    found = []
    for logits_at_a_time in (5 * 1001, 5 * 7, 5, 1):
        monkeypatch.setattr(scores, "CHUNK", logits_at_a_time)
        answers = Answers(logits, labels, 0.7)
        columns = (answers.predictions, answers.highest, answers.ahead, answers.losses)
        found.append([fit_temperature(logits, labels), *(column.tobytes() for column in columns)])
    assert all(columns == found[0] for columns in found)


def test_huge_logits_and_a_perfect_classifier_stay_numbers() -> None:
    assert fit_temperature(np.array([[1e6, 0], [0, 1e6]], np.float32), np.array([0, 1])) == pytest.approx(0.01)
    assert fit_temperature(np.array([[1e6, 0], [0, 1e6]], np.float32), np.array([1, 0])) == pytest.approx(100)


def test_the_error_is_the_one_worked_out_by_hand() -> None:
    # Bins of 1/15: .62 and .64 share one, .95 is alone.
    table = reliability_table(np.array([0.62, 0.64, 0.95]), np.array([True, False, True]))
    assert table["images"].tolist() == [2, 1]
    assert table["lower"].tolist() == pytest.approx([9 / 15, 14 / 15])
    assert table["confidence"].tolist() == pytest.approx([0.63, 0.95])
    assert table["accuracy"].tolist() == [0.5, 1.0]
    assert expected_calibration_error(table) == pytest.approx((2 * 0.13 + 0.05) / 3)


def test_every_image_is_in_a_bin_and_certainty_in_the_last() -> None:
    table = reliability_table(np.array([1.0, 0.5, 2 / 3]), np.ones(3, bool))
    assert table["images"].sum() == 3
    assert table["upper"].iloc[-1] == 1


def test_thresholds_are_given_for_what_validation_shows() -> None:
    sure, right = np.array([[np.log(9), 0]] * 50 + [[np.log(1.5), 0]] * 20), [0] * 50 + [0] * 10 + [1] * 10
    assert thresholds_by_precision(Answers(sure, np.array(right))) == {"80": 0.9, "90": 0.9}  # 50 of 50, 60 of 70
    found = thresholds_by_precision(Answers(np.tile(sure, (10, 1)), np.tile(right, 10)))
    assert found == {"80": 0.6, "90": 0.9, "95": 0.9, "98": 0.9, "99": 0.9}


@pytest.mark.parametrize("images", [20, 100, 1000])
def test_a_classifier_that_needs_no_temperature_gets_none_in_95_of_100_draws(images: int) -> None:
    logits, labels = drawn(1.0)
    parts = [slice(begin, begin + images) for begin in range(0, min(len(labels), 200 * images), images)]
    found = [temperature_of(Answers(logits[part], labels[part])) for part in parts]
    # Twice 1.5 of 100 more than 5 is what so many draws may give.
    assert np.mean([temperature is not None for temperature in found]) < 0.05 + 2 * np.sqrt(0.05 * 0.95 / len(parts))


def test_a_temperature_that_1000_images_show_20_do_not_always() -> None:
    logits, labels = drawn(1.3)
    assert temperature_of(Answers(logits[:5000], labels[:5000])) == pytest.approx(1.3, rel=0.1)
    assert None in [temperature_of(Answers(logits[i : i + 20], labels[i : i + 20])) for i in range(0, 400, 20)]
    assert temperature_of(Answers(logits[:0], labels[:0])) is None


def _answers(right: int, count: int) -> Answers:
    return Answers(np.tile(np.array([[1.0, 0.0]], np.float32), (count, 1)), np.repeat([0, 1], [right, count - right]))


@pytest.mark.parametrize(
    ("val", "test", "words"),
    [
        ((900, 1000), (4500, 5000), []),
        ((0, 0), (4500, 5000), []),
        ((20, 22), (43, 46), ["46 test images are few: on others, top-1 may well be anything from 82 to 98 %"]),
        ((980, 1000), (4500, 5000), ["top-1 is 98.0 % on validation and 90.0 % on test, which differ by more than"]),
        ((20, 22), (20, 46), ["46 test images are few", "top-1 is 90.9 % on validation and 43.5 % on test"]),
    ],
)
def test_what_the_figures_cannot_carry_is_said(val: tuple[int, int], test: tuple[int, int], words: list[str]) -> None:
    answers = _answers(*test)
    found = findings(accuracy_figures(answers), answers, _answers(*val))
    assert len(found) == len(words)
    assert all(sentence.startswith(beginning) for sentence, beginning in zip(found, words, strict=True))
