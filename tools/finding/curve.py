"""The curve of a range test: the loss smoothed, a rate suggested, a picture."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SMOOTHING = 0.9  # of the moving average of the loss, for each step
DIVERGED = 2.0  # times the lowest smoothed loss: the test is over
SAFETY = 10  # the suggestion is the rate with the lowest loss, divided by this
FEWEST = 10  # steps before the loss can have diverged
SIDE, MARGIN, TITLE = (960, 560), 90, 20


@dataclass
class Curve:
    """Rates and losses of the steps so far."""

    rates: list[float]
    losses: list[float]

    def smoothed(self) -> list[float]:
        """The losses as a moving average, corrected for its beginning."""
        average, found = 0.0, []
        for step, loss in enumerate(self.losses, 1):
            average = SMOOTHING * average + (1 - SMOOTHING) * loss
            found.append(average / (1 - SMOOTHING**step))
        return found

    def has_diverged(self) -> bool:
        """Whether the last loss is no number, or the smoothed one is far above its lowest."""
        smoothed = self.smoothed()
        over = len(smoothed) > FEWEST and smoothed[-1] > DIVERGED * min(smoothed)
        return over or not math.isfinite(self.losses[-1])

    def lowest(self) -> float:
        """The rate with the lowest smoothed loss."""
        return self.rates[int(np.nanargmin(self.smoothed()))]

    def suggestion(self) -> float:
        """A tenth of that rate, with two digits."""
        return float(f"{self.lowest() / SAFETY:.2g}")


def draw_curve(curve: Curve, *, title: str) -> Image.Image:
    """Loss over rate, the rates on a logarithmic scale; two lines mark the lowest loss and the suggestion."""
    picture = Image.new("RGB", SIDE, "white")
    draw = ImageDraw.Draw(picture)
    font, large = ImageFont.load_default(16), ImageFont.load_default(TITLE)
    smoothed = [value for value in curve.smoothed() if math.isfinite(value)]
    low, high = min(smoothed), min(max(smoothed), DIVERGED * min(smoothed))
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low) + 1e-6
    left, right = math.log10(curve.rates[0]), math.log10(curve.rates[-1]) + 1e-6

    def place(rate: float, loss: float) -> tuple[float, float]:
        across, up = (math.log10(rate) - left) / (right - left), (min(max(loss, low), high) - low) / (high - low)
        return MARGIN + across * (SIDE[0] - 1.5 * MARGIN), SIDE[1] - MARGIN - up * (SIDE[1] - 2 * MARGIN)

    for power in range(math.ceil(left), math.floor(right) + 1):
        x, y = place(10.0**power, low)
        draw.line([(x, y), place(10.0**power, high)], "#e4e4e4")
        draw.text((x, y + 8), f"{10.0**power:g}", "black", font, anchor="ma")
    for loss in np.linspace(low, high, 5):
        x, y = place(curve.rates[0], float(loss))
        draw.line([(x, y), place(curve.rates[-1], float(loss))], "#e4e4e4")
        draw.text((x - 8, y), f"{loss:.2f}", "black", font, anchor="rm")
    marks = {curve.suggestion(): ("suggestion", "#1a7f37"), curve.lowest(): ("lowest loss", "#b35900")}
    for rate, (name, color) in marks.items():
        x, top = place(min(max(rate, curve.rates[0]), curve.rates[-1]), high)
        draw.line([(x, top), (x, place(curve.rates[0], low)[1])], color, 2)
        draw.text((x, top - 4), f"{name} {rate:.2g}", color, font, anchor="mb")
    raw = [place(rate, loss) for rate, loss in zip(curve.rates, curve.losses, strict=True) if math.isfinite(loss)]
    draw.line(raw, "#a9c4e8", 1)
    draw.line([place(*point) for point in zip(curve.rates, smoothed, strict=False)], "#1f5fb4", 3)
    draw.text((MARGIN, 14), title, "black", large)
    draw.text((SIDE[0] / 2, SIDE[1] - 34), "learning rate", "black", font, anchor="ma")
    draw.text((MARGIN, MARGIN - 32), "loss, smoothed and of each batch", "black", font, anchor="lb")
    return picture
