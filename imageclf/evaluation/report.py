"""metrics/report.html: all results of evaluate on one page."""

import base64
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from PIL import Image

from imageclf.config.section import NO_FILE
from imageclf.evaluation.chart import Chart, Points, draw_chart
from imageclf.evaluation.next_steps import COUNTED, curve_words, next_steps
from imageclf.evaluation.tables import worst_pairs
from imageclf.models.card import Card

EXAMPLES = 2  # paths of each remark


@dataclass(frozen=True)
class Remark:
    """A kind of problem in the data: how many files or classes have it, what was done, and examples."""

    what: str  # the kind; for a single file the whole description
    action: str
    count: int
    examples: list[str]


def remarks_by_kind(report: pd.DataFrame) -> list[Remark]:
    """One remark per action and kind of problem of a report (path, problem, action), in that order."""
    # A problem begins with its kind: "duplicate: same picture as ...", "not a picture (...)". What is said of the whole
    # data set stays as it is.
    kinds = report["problem"].map(lambda problem: re.split(r": | \(", problem)[0])
    kinds = kinds.where(report["path"] != "all images", report["problem"])
    return [
        Remark(
            str(kind) if len(lines) > 1 else str(lines["problem"].iloc[0]),
            str(action),
            len(lines),
            lines["path"].head(EXAMPLES).tolist(),
        )
        for (action, kind), lines in report.groupby([report["action"], kinds])
    ]


def verdict(scores: Mapping[str, Any], classes: pd.DataFrame) -> str:
    """How good the classifier is, in one sentence without terms; `classes` is metrics/per_class.csv."""
    most = classes.iloc[int(classes["images"].argmax())]
    guessing = most["images"] / classes["images"].sum()
    if scores["top1_low"] <= guessing:
        return (
            f"On {scores['images']:,} test images it is not shown to be better than a guess: whoever always answers "
            f"{most['class']} gets {_of_100(guessing, guessing)} of 100 right"
        )
    words = (
        f"Of 100 images like the test images, it gets {_of_100(scores['top1_low'], scores['top1_high'])} right; "
        f"whoever always answers {most['class']} gets {_of_100(guessing, guessing)}"
    )
    sure = scores.get("selective", {})
    if "precision" not in sure:
        return words
    return (
        f"{words}. It is sure of {_of_100(sure['coverage_low'], sure['coverage_high'])} of 100, and right on "
        f"{_of_100(sure['precision_low'], sure['precision_high'])} of 100 such answers"
    )


def _of_100(low: float, high: float) -> str:
    """Fractions as whole numbers of 100; an interval becomes wider, never narrower."""
    if low == high:
        return f"{100 * low:.0f}"
    least, most = math.floor(100 * low), math.ceil(100 * high)
    return f"{least} to {most}"


TEMPLATE = Path(__file__).with_suffix(".html")
MOST_BYTES = 500_000  # of an embedded picture, so that a page with three is under 3 MB
QUALITY = 75  # of a JPEG
MOST_CLASSES = 1000  # in the table of all
LARGEST_TABLE = 30  # classes; with more, the page shows the worst classes and pairs
PAIRS = 20


def render_report(
    card: Card,
    scores: Mapping[str, Any],
    *,
    images: Mapping[str, int],
    parameters: int,
    weights: str,
    history: pd.DataFrame,
    classes: pd.DataFrame,
    confusion: np.ndarray,
    reliability: pd.DataFrame,
    coverage: pd.DataFrame,
    remarks: Sequence[Remark],
    findings: Sequence[str],
    pictures: Mapping[str, Path],
) -> str:
    """The page. `images` counts each split, `weights` is their sha256, `confusion` is (classes, classes), and
    `pictures` are PNG files by caption.

    Names come from the data: the template escapes everything, and the page's policy forbids scripts and requests.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": _percent, "count": _count}
    few = len(card.classes) <= LARGEST_TABLE
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        card=card,
        scores=scores,
        images=images,
        parameters=parameters,
        verdict=verdict(scores, classes),
        origin={"weights": weights} | card.made_from | card.data_sha256,
        steps=next_steps(
            scores,
            classes=classes,
            confusion=confusion,
            names=card.classes,
            history=history,
            validated=images["val"],
            fresh=_is_fresh(card),
        ),
        curve_words=curve_words(history),
        charts=[*_history_charts(history), _reliability_chart(reliability), _coverage_chart(coverage, scores)],
        remarks=remarks,
        findings=findings,
        classes=classes.head(MOST_CLASSES).to_dict(orient="records"),
        worst=None if few else classes.nsmallest(LARGEST_TABLE, "f1").to_dict(orient="records"),
        hopeless=int((classes["f1"] == 0).sum()),
        confusion=_row_fractions(confusion) if few else None,
        pairs=[
            (card.classes[a], card.classes[b], confusion[a, b])
            for a, b in zip(*worst_pairs(confusion, PAIRS), strict=True)
        ],
        pictures={caption: _embedded(path) for caption, path in pictures.items()},
        params=card.shown_params(),
    )


def _is_fresh(card: Card) -> bool:
    """Whether the network began from random weights."""
    recipe = card.params.get("train", {})
    return not recipe.get("pretrained") and recipe.get("weights", NO_FILE) == NO_FILE


@dataclass(frozen=True)
class Embedded:
    """A picture in the page: a data URI, and how much smaller it is than the file `path`, such as 0.5."""

    uri: str
    path: Path
    scale: float


def _embedded(path: Path) -> Embedded:
    """The file, or a JPEG that takes at most MOST_BYTES, with fewer pixels if it must."""
    content, scale = path.read_bytes(), 1.0
    if len(content) <= MOST_BYTES:
        return Embedded(_uri("png", content), path, scale)
    with Image.open(path) as file:
        picture = file.convert("RGB")
    while len(content := _jpeg(picture, scale)) > MOST_BYTES:
        scale *= min(0.9, math.sqrt(MOST_BYTES / len(content)))
    return Embedded(_uri("jpeg", content), path, scale)


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _jpeg(picture: Image.Image, scale: float) -> bytes:
    file = BytesIO()
    size = max(1, round(scale * picture.width)), max(1, round(scale * picture.height))
    smaller = picture if scale == 1 else picture.resize(size, Image.Resampling.LANCZOS)
    smaller.save(file, format="JPEG", quality=QUALITY)
    return file.getvalue()


def _percent(fraction: float, digits: int = 1) -> str:
    return "–" if np.isnan(fraction) else f"{100 * fraction:.{digits}f}"


def _count(number: int) -> str:
    return f"{number:,}"


def _history_charts(history: pd.DataFrame) -> list[Chart]:
    lines = {name: _points(history, "epoch", name) for name in history.columns if name != "epoch"}
    return [
        draw_chart(
            "Loss by epoch",
            {"training": lines["train_loss"], "validation": lines["val_loss"]},
            x_label="epoch",
            y_label="loss",
        ),
        draw_chart(
            "Top-1 accuracy by epoch",
            {"training": _percents(lines["train_top1"]), "validation": _percents(lines["val_top1"])},
            x_label="epoch",
            y_label="top-1 accuracy (%)",
        ),
        draw_chart("Learning rate", {"at the end of the epoch": lines["lr"]}, x_label="epoch", y_label="learning rate"),
    ]


def _reliability_chart(table: pd.DataFrame) -> Chart:
    carried = table[table["images"] >= COUNTED]
    return draw_chart(
        "Reliability on the test split",
        {
            str(name): _percents(_points(part, "confidence", "accuracy"), both=True)
            for name, part in carried.groupby("probabilities")
        },
        x_label=f"mean probability of at least {COUNTED} answers (%)",
        y_label="correct (%)",
        guide=[(0, 0), (100, 100)],
    )


def _coverage_chart(table: pd.DataFrame, scores: Mapping[str, Any]) -> Chart:
    asked = 100 * scores["selective"]["asked"] if "selective" in scores else None
    return draw_chart(
        "Precision by coverage on the test split",
        {"the most confident images first": _percents(_points(table, "coverage", "precision"), both=True)},
        x_label="coverage (% of the images)",
        y_label="precision (% correct)",
        guide=[(0, asked), (100, asked)] if asked else None,
    )


def _points(table: pd.DataFrame, x: str, y: str) -> Points:
    return [(float(a), float(b)) for a, b in zip(table[x], table[y], strict=True) if not np.isnan(b)]


def _percents(points: Points, *, both: bool = False) -> Points:
    """Fractions as per cent: y, or `both`."""
    return [(100 * x if both else x, 100 * y) for x, y in points]


def _row_fractions(confusion: np.ndarray) -> list[list[tuple[int, float]]]:
    """Each cell's count, and its fraction of the row (a class's images)."""
    rows = confusion.sum(axis=1, keepdims=True)
    fractions = confusion / np.maximum(1, rows)
    return [
        [(int(count), round(float(fraction), 3)) for count, fraction in zip(*row, strict=True)]
        for row in zip(confusion, fractions, strict=True)
    ]
