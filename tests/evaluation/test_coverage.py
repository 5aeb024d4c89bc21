"""Coverage and precision against counts by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from imageclf.evaluation.calibration import choose_limit, choose_threshold, coverage_table

CONFIDENCE = np.array([0.9, 0.5, 0.8, 0.7, 0.7])
RIGHT = np.array([True, False, True, False, True])
DRAWS = 400
SHOWN = {("calibrated", 1000), ("nearly always right", 300), ("nearly always right", 1000)}  # in most draws


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


SURE, HALF = np.repeat([0.9, 0.5], 100), np.repeat([True, True, False], [100, 50, 50])


@pytest.mark.parametrize(("precision", "threshold"), [(0.95, 0.9), (0.65, 0.5), (0.75, 0.9), (0.97, None), (1.0, None)])
def test_the_threshold_is_the_lowest_that_the_answers_show(precision: float, threshold: float | None) -> None:
    # 100 of 100 show 95 %: 0.95 ** 100 is 0.006; but not 97 %: 0.048. 150 of 200 show 65 %, and not 75 %.
    assert choose_threshold(SURE, HALF, precision) == threshold


def test_90_correct_answers_show_95_percent_and_89_do_not() -> None:
    for count, threshold in ((89, None), (90, 0.9)):
        assert choose_threshold(np.full(count, 0.9), np.ones(count, bool), 0.95) == threshold
    assert choose_threshold(np.empty(0), np.empty(0, bool), 0.95) is None


WORLDS: dict[str, tuple[tuple[float, float], Callable[[np.ndarray], np.ndarray]]] = {
    # How confidence is distributed, and how often an answer is correct at each.
    "calibrated": ((4, 1), lambda confidence: confidence),
    "overconfident": ((6, 1), lambda confidence: confidence**3),
    "confidence means nothing": ((1, 1), lambda confidence: np.full(confidence.shape, 0.945)),
    "nearly always right": ((20, 1), lambda confidence: confidence**0.8),
}


@pytest.mark.parametrize("images", [20, 50, 100, 300, 1000])
@pytest.mark.parametrize("world", WORLDS)
def test_a_threshold_keeps_its_promise_in_95_of_100_draws(world: str, images: int) -> None:
    shape, right = WORLDS[world]
    random = np.random.default_rng(images)
    everyone = np.sort(random.beta(*shape, 100_000))
    true_precision = np.cumsum(right(everyone)[::-1])[::-1] / np.arange(len(everyone), 0, -1)  # from each one up
    kept = given = 0
    for _ in range(DRAWS):
        confidence = random.beta(*shape, images)
        threshold = choose_threshold(confidence, random.random(images) < right(confidence), 0.95)
        given += threshold is not None
        kept += threshold is None or true_precision[np.searchsorted(everyone, threshold)] >= 0.95
    assert kept >= 0.95 * DRAWS
    assert (given > 0.5 * DRAWS) == ((world, images) in SHOWN)


@pytest.mark.parametrize("images", [20, 50, 58, 59, 100, 300, 1000])
def test_pictures_like_the_training_images_are_rarely_called_unlike(images: int) -> None:
    random = np.random.default_rng(images)
    limits = [choose_limit(random.random(images), 0.05) for _ in range(DRAWS)]
    given = [limit for limit in limits if limit is not None]
    assert len(given) == (DRAWS if images >= 59 else 0)
    assert sum(1 - limit <= 0.05 for limit in given) >= 0.95 * len(given)  # 1 - limit: of all pictures, those above


def test_equal_entropies_are_not_called_unlike() -> None:
    entropy = np.repeat([0.0, 1.0], [900, 100])
    limit = choose_limit(entropy, 0.05)
    assert limit == 1.0
    assert choose_limit(np.empty(0), 0.05) is None
