"""What a finished run says of itself: its metrics, and the end of its closing line."""

from stages.params.schema import TrainParams
from stages.training.outcome import Row, best_row


def metrics_of(history: list[Row], *, keep: str, parameters: int) -> dict[str, object]:
    """metrics/train.json: the scores of the epoch that is kept, and which it is where it is the best."""
    row = _kept_row(history, keep)
    metrics: dict[str, object] = {"parameters": parameters}
    if keep == "best":
        metrics["epoch"] = row["epoch"]
    for split in ("train", "val"):
        scores = {name: round(row[f"{split}_{name}"], 6) for name in ("loss", "top1") if f"{split}_{name}" in row}
        if scores:
            metrics[split] = scores
    return metrics


def ending_of(history: list[Row], recipe: TrainParams) -> str:
    """Which epoch's weights these are, how good they are, and whether training stopped early."""
    row, words = _kept_row(history, recipe.keep), ""
    if recipe.keep == "best":
        words += f" of epoch {row['epoch']}"
    if "val_top1" in row:
        words += f", val top-1 {100 * row['val_top1']:.2f} %"
    if len(history) < recipe.epochs:
        words += f", stopped at epoch {len(history)}/{recipe.epochs}: no better one since {best_row(history)['epoch']}"
    return words


def _kept_row(history: list[Row], keep: str) -> Row:
    return best_row(history) if keep == "best" else history[-1]
