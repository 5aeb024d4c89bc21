"""metrics/report.html: what was trained on what and how good it is, as one page that needs nothing beside it."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined

from stages.evaluation.chart import Chart, Points, draw_chart
from stages.evaluation.remarks import Remark
from stages.evaluation.tables import worst_pairs
from stages.model.card import Card
from stages.params.flat import flat

TEMPLATE = Path(__file__).with_suffix(".html")
LARGEST_TABLE = 30  # classes; of more the worst, and the worst pairs, are shown
PAIRS = 20


def render_report(
    card: Card,
    scores: Mapping[str, Any],
    *,
    images: Mapping[str, int],
    parameters: int,
    history: pd.DataFrame,
    classes: pd.DataFrame,
    confusion: np.ndarray,
    reliability: pd.DataFrame,
    coverage: pd.DataFrame,
    remarks: Sequence[Remark],
    pictures: Mapping[str, Path],
) -> str:
    """The page. `images` counts each split, `confusion` is (classes, classes), `pictures` are PNG files by caption.

    Names come from data: the template escapes whatever it is given, and the page's policy forbids scripts and requests.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": _percent, "count": _count}
    few = len(card.classes) <= LARGEST_TABLE
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        card=card,
        scores=scores,
        images=images,
        parameters=parameters,
        charts=[*_history_charts(history), _reliability_chart(reliability), _coverage_chart(coverage, scores)],
        remarks=remarks,
        classes=classes.to_dict(orient="records"),
        worst=None if few else classes.nsmallest(LARGEST_TABLE, "f1").to_dict(orient="records"),
        confusion=_shares(confusion) if few else None,
        pairs=[
            (card.classes[a], card.classes[b], confusion[a, b])
            for a, b in zip(*worst_pairs(confusion, PAIRS), strict=True)
        ],
        pictures={caption: base64.b64encode(path.read_bytes()).decode() for caption, path in pictures.items()},
        params=flat(card.params),
    )


def _percent(share: float, digits: int = 1) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.{digits}f}"


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
            {"training": lines["train_top1"], "validation": lines["val_top1"]},
            x_label="epoch",
            y_label="top-1 accuracy (fraction)",
        ),
        draw_chart("Learning rate", {"at the end of the epoch": lines["lr"]}, x_label="epoch", y_label="learning rate"),
    ]


def _reliability_chart(table: pd.DataFrame) -> Chart:
    return draw_chart(
        "Reliability on the test split",
        {str(name): _points(part, "confidence", "accuracy") for name, part in table.groupby("probabilities")},
        x_label="mean probability of the answer",
        y_label="share that is right",
        guide=[(0, 0), (1, 1)],
    )


def _coverage_chart(table: pd.DataFrame, scores: Mapping[str, Any]) -> Chart:
    asked = scores["selective"]["asked"] if "selective" in scores else None
    return draw_chart(
        "Precision by coverage on the test split",
        {"the surest images first": _points(table, "coverage", "precision")},
        x_label="coverage (share of the images)",
        y_label="precision (share that is right)",
        guide=[(0, asked), (1, asked)] if asked else None,
    )


def _points(table: pd.DataFrame, x: str, y: str) -> Points:
    return [(float(a), float(b)) for a, b in zip(table[x], table[y], strict=True) if not np.isnan(b)]


def _shares(confusion: np.ndarray) -> list[list[tuple[int, float]]]:
    """Each cell's count, and its share of its row, which is a class's images."""
    rows = confusion.sum(axis=1, keepdims=True)
    shares = confusion / np.maximum(1, rows)
    return [
        [(int(count), round(float(share), 3)) for count, share in zip(*row, strict=True)]
        for row in zip(confusion, shares, strict=True)
    ]
