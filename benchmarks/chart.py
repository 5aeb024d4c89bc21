"""The speed figures as a picture."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.lineup import CONTESTANTS
from imageclf.runtime.files import replaced_file

OURS, THEIRS = "#1f6f8b", "#b9b9b9"


def chart_of(kind: str) -> Path:
    """Where the chart of a kind of processor lies."""
    return Path(f"benchmarks/speed-{kind.lower().replace(' ', '-')}.png")


def draw_speed(speed: dict[str, Any], path: Path) -> None:
    """A bar for each contestant, the fastest on top, its spread as a whisker."""
    rates = {name: figures["images_per_second"] for name, figures in speed["contestants"].items()}
    names = sorted(rates, key=lambda name: rates[name]["median"])
    medians = [rates[name]["median"] for name in names]
    below = [rates[name]["median"] - rates[name]["low"] for name in names]
    above = [rates[name]["high"] - rates[name]["median"] for name in names]

    with mpl.rc_context({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9, 0.8 + 0.5 * len(names)), layout="constrained")
        axes = figure.subplots()
        colours = [OURS if CONTESTANTS[name].ours else THEIRS for name in names]
        axes.barh(names, medians, xerr=[below, above], color=colours, error_kw={"elinewidth": 1, "capsize": 3})
        for place, (median, reach) in enumerate(zip(medians, above, strict=True)):
            axes.annotate(f"{median:,.0f}", (median + reach, place), (5, 0), textcoords="offset points", va="center")
        machine = speed["machine"]
        axes.set_title(f"Training, images a second: {machine['cores']} cores of {machine['processor']}", loc="left")
        axes.set_xlabel(f"images a second (median of {speed['rounds']} rounds; whiskers: least and most)")
        axes.margins(x=0.1)
        with replaced_file(path) as temporary:
            figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})
