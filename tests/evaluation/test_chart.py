"""Charts: round numbers on the axes, every point inside the frame."""

import pytest

from imageclf.evaluation.chart import draw_chart


@pytest.mark.parametrize("values", [[0.3], [0.0, 0.0], [2.1, 1.7], [1e-5, 3e-3], [-4.0, 1200.0]])
def test_every_point_lies_between_the_first_and_the_last_tick(values: list[float]) -> None:
    chart = draw_chart("t", {"line": list(enumerate(values))}, x_label="x", y_label="y")
    heights = [y for _, y in chart.lines[0].corners]
    assert chart.y_ticks[-1].at - 0.1 <= min(heights) <= max(heights) <= chart.y_ticks[0].at + 0.1
    assert 2 <= len(chart.y_ticks) <= 8


def test_larger_is_higher_and_further_right() -> None:
    (first, second) = draw_chart("t", {"line": [(1, 1), (2, 2)]}, x_label="x", y_label="y").lines[0].corners
    assert first[0] < second[0]
    assert first[1] > second[1]


@pytest.mark.parametrize("epochs", [1, 2, 7, 60])
def test_an_axis_of_whole_numbers_has_whole_ticks(epochs: int) -> None:
    points = [(epoch, 1 / epoch) for epoch in range(1, epochs + 1)]
    ticks = [float(tick.text) for tick in draw_chart("t", {"line": points}, x_label="x", y_label="y").x_ticks]
    assert all(tick.is_integer() for tick in ticks)
    assert 2 <= len(set(ticks)) == len(ticks) <= 8


def test_a_line_without_points_is_left_out() -> None:
    chart = draw_chart("t", {"there": [(1, 1)], "not there": []}, x_label="x", y_label="y")
    assert [line.name for line in chart.lines] == ["there"]
    assert draw_chart("t", {"not there": []}, x_label="x", y_label="y").lines == []
