"""The learning rate rises and falls as params.yaml says."""

import pytest

from imageclf.training.schedule import rate_factor


def curve(schedule: str, *, warmup: float = 0.0, final: float = 0.0, total: int = 100) -> list[float]:
    return [
        rate_factor(schedule, step, total=total, warmup=warmup, final=final, drop=0.1 ** (step // 30))
        for step in range(total)
    ]


def test_constant_is_constant() -> None:
    assert set(curve("constant")) == {1.0}


def test_linear_rises_to_its_peak_and_falls_to_nothing_in_straight_lines() -> None:
    rates = curve("linear", warmup=0.2)
    assert rates[20] == max(rates) == 1.0
    assert rates[60] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.02
    assert 0 < rates[0] < 0.06


def test_cosine_is_half_way_down_at_half_time() -> None:
    assert curve("cosine")[50] == pytest.approx(0.5)
    assert curve("cosine", final=0.2)[50] == pytest.approx(0.6)


def test_step_drops_each_time() -> None:
    rates = curve("step")
    assert rates[29] == 1.0
    assert rates[30] == pytest.approx(0.1)
    assert rates[60] == pytest.approx(0.01)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "step"])
def test_no_step_has_a_rate_of_zero_or_above_the_peak(schedule: str) -> None:
    for warmup in (0.0, 0.3, 1.0):
        assert all(0 < rate <= 1 for rate in curve(schedule, warmup=warmup))
