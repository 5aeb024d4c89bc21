"""The figures as Markdown."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.changes import words
from benchmarks.lineup import CONTESTANTS, PAIRS

Figures = dict[str, Any]


def markdown(results: Figures) -> str:
    """Every section that there is, of each kind of processor."""
    sections: dict[str, Callable[[Figures], str]] = {"speed": speed, "scaling": scaling, "accuracy": accuracy}
    parts = []
    for kind, of_kind in sorted(results.items()):
        drawn = [draw(of_kind[name]) for name, draw in sections.items() if name in of_kind]
        parts.append("\n\n".join([f"# {kind}", *drawn]))
    return "\n\n".join(parts) + "\n"


def speed(figures: Figures) -> str:
    contestants = figures["contestants"]
    rows = [_contestant_row(name, contestants[name]) for name in CONTESTANTS if name in contestants]
    titles = ["contestant", "what it is", "images/s", "an epoch", "share of peak", "peak memory"]
    pairs = [
        [f"{pair.left} / {pair.right}", pair.what, _range(figures["ratios"][f"{pair.left} / {pair.right}"], "{:.2f}")]
        for pair in PAIRS
        if f"{pair.left} / {pair.right}" in figures["ratios"]
    ]
    parts = [
        "## Speed, taking turns",
        f"{_machine(figures['machine'])} Median of {figures['rounds']} rounds, least and most in brackets. "
        f"{_peaks(figures.get('peak', {}))}",
        table(titles, rows),
    ]
    if pairs:
        parts.append(table(["images a second", "what it tells", "ratio"], pairs))
    if "record" in contestants:
        parts.append(_whole_record(contestants["record"]))
    return "\n\n".join(parts)


def scaling(figures: Figures) -> str:
    rows = [
        [
            f"{cell['images']:,}",
            f"{cell['size'][1]}x{cell['size'][0]}",
            _range(cell["images_per_second"], "{:,.0f}"),
            f"{cell['epoch_seconds']:,.1f} s",
            f"{cell['epoch_seconds'] / figures['cells'][0]['epoch_seconds']:.2f}",
            _megabytes(cell["peak_memory"]),
            _megabytes(cell["peak_own_memory"]),
        ]
        for cell in figures["cells"]
    ]
    titles = ["images", "size", "images/s", "an epoch", "times the first", "peak memory", "without mapped files"]
    return "\n\n".join(
        [
            "## Cost against data and image size",
            f"{_machine(figures['machine'])} Ours with the default params; median of {figures['rounds']} rounds, "
            "least and most in brackets. Images are mapped from their file: the system can drop them and read them "
            "again.",
            table(titles, rows),
        ]
    )


def accuracy(figures: Figures) -> str:
    rows = [
        [
            f"{name} ({words(recipe['changes'])})",
            ", ".join(str(run["seed"]) for run in recipe["runs"]),
            _deviation(recipe["top1_percent"], "{:.2f} %"),
            _deviation(recipe["train_seconds"], "{:.0f} s"),
            _deviation(recipe["evaluate_seconds"], "{:.0f} s"),
            _deviation(recipe["notes_seconds"], "{:.0f} s"),
            _deviation(recipe["notes_top1_percent"], "{:.2f} %"),
            f"{recipe['train_to_notes']:.2f}",
        ]
        for name, recipe in figures.items()
    ]
    machines = sorted({_machine(recipe["machine"]) for recipe in figures.values()})
    titles = [
        "recipe",
        "seeds",
        "test top-1",
        "train",
        "evaluate",
        "the notes' two epochs",
        "their top-1",
        "train / notes",
    ]
    return "\n\n".join(
        [
            "## Accuracy and time of whole runs",
            f"{' '.join(machines)} Mean and standard deviation over the seeds; beside each seed the notes' script "
            "takes its turn.",
            table(titles, rows),
        ]
    )


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _contestant_row(name: str, figures: Figures) -> list[str]:
    share = figures.get("share_of_peak")
    return [
        name,
        CONTESTANTS[name].what,
        _range(figures["images_per_second"], "{:,.0f}"),
        f"{figures['epoch_seconds']:,.1f} s",
        f"{100 * share:.0f} % of {figures['precision']}" if share else "",
        _megabytes(figures["peak_memory"]),
    ]


def _machine(machine: Figures) -> str:
    return (
        f"{machine['cores']} cores of {machine['processor']} ({machine['processor_kind']}), "
        f"torch {machine['torch']}, {machine['date']}."
    )


def _peaks(peak: Figures) -> str:
    rates = [f"{_range(rate, '{:,.0f}')} GFLOP/s in {precision}" for precision, rate in peak.items()]
    return f"Matrix products reached {' and '.join(rates)} in the same rounds." if rates else ""


def _whole_record(figures: Figures) -> str:
    epoch, finish = figures["epoch_seconds"], figures["finish_seconds"]["median"]
    return (
        f"The record recipe as a whole would take {8 * epoch + finish:,.0f} s here: 8 epochs of {epoch:,.0f} s, and "
        f"{finish:,.0f} s for the test images with its augmentation at test time."
    )


def _range(figures: Figures, form: str) -> str:
    low, high = form.format(figures["low"]), form.format(figures["high"])
    return f"{form.format(figures['median'])} ({low} to {high})"


def _deviation(figures: Figures, form: str) -> str:
    mean = form.format(figures["mean"])
    return mean if figures["deviation"] is None else f"{mean} ± {form.format(figures['deviation']).split()[0]}"


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB" if size else ""
