"""Line charts for pages, as coordinates that a template draws as SVG."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 420, 270  # of the canvas, in SVG units
LEFT, RIGHT, TOP, BOTTOM = 68, 12, 10, 42  # margins
TICKS = 5  # per axis, about

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its position and its label."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """A named line: its corners (x, y) on the canvas."""

    name: str
    corners: list[tuple[float, float]]

    @property
    def points(self) -> str:
        """The corners in the notation of an SVG polyline."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.corners)


@dataclass(frozen=True)
class Chart:
    """Lines in a frame with two axes; `guide` is a dashed reference line."""

    title: str
    x_label: str
    y_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Line]
    guide: str | None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def draw_chart(
    title: str, lines: Mapping[str, Points], *, x_label: str, y_label: str, guide: Points | None = None
) -> Chart:
    """Fit lines of (x, y) to the canvas; lines without points are left out."""
    filled = {name: points for name, points in lines.items() if points}
    every = [point for points in [*filled.values(), guide or []] for point in points]
    across, down = ([point[axis] for point in every] for axis in (0, 1))
    # Epochs are whole numbers: no tick at 1.5.
    x_steps, y_steps = _steps(across, least=1.0 if all(x == int(x) for x in across) else 0.0), _steps(down)

    def place(points: Points) -> list[tuple[float, float]]:
        return [(_across(x, x_steps), _down(y, y_steps)) for x, y in points]

    return Chart(
        title,
        x_label,
        y_label,
        [Tick(_across(step, x_steps), f"{step:g}") for step in x_steps],
        [Tick(_down(step, y_steps), f"{step:g}") for step in y_steps],
        [Line(name, place(points)) for name, points in filled.items()],
        Line("", place(guide)).points if guide else None,
    )


def _steps(values: Sequence[float], *, least: float = 0.0) -> list[float]:
    """Round, equally spaced numbers that span the values; the spacing is at least `least`."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / TICKS))
    step = max(least, next(power * factor for factor in (1, 2, 5, 10) if power * factor * TICKS >= span * 0.999))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def _across(x: float, steps: list[float]) -> float:
    fraction = (x - steps[0]) / (steps[-1] - steps[0])
    return round(LEFT + fraction * (WIDTH - RIGHT - LEFT), 1)


def _down(y: float, steps: list[float]) -> float:
    fraction = (y - steps[0]) / (steps[-1] - steps[0])
    return round(HEIGHT - BOTTOM - fraction * (HEIGHT - BOTTOM - TOP), 1)
