"""What ours costs with more and with larger images: `python -m benchmarks.scaling`, after `dvc repro prepare`.

CIFAR-10 once, twice and four times over, and enlarged to 64x64 and 128x128 pixels; the default params, rounds of turns
as in `python -m benchmarks`. Writes the section scaling of benchmarks/results.json and benchmarks/RESULTS.md. It needs
4 GB in the folder for temporary files, and some minutes.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.enlarge import enlarge
from benchmarks.results import PAGE, RESULTS, keep, spread, this_machine
from benchmarks.watch import take_turn
from imageclf.runtime.stage import run_tool


@dataclass(frozen=True)
class Cell:
    """A line of the table: how often the images are there, and how much larger."""

    repeats: int
    zoom: int


CELLS = [Cell(1, 1), Cell(2, 1), Cell(4, 1), Cell(1, 2), Cell(1, 4)]


def main() -> None:
    asked = _parser().parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folders = {cell: Path(temporary, f"{cell.repeats}-times-zoom-{cell.zoom}") for cell in CELLS}
        for cell, folder in folders.items():
            enlarge(folder, repeats=cell.repeats, zoom=cell.zoom, images=asked.images)
            print(f"written: {_words(cell)}", flush=True)
        turns: dict[Cell, list[dict[str, Any]]] = {cell: [] for cell in CELLS}
        for number in range(1, asked.rounds + 1):
            for cell in CELLS if number % 2 else reversed(CELLS):
                turn = take_turn("ours", data=folders[cell], warm_up=asked.warm_up, seconds=asked.seconds)
                turns[cell].append(turn)
                words = f"{turn['images_per_second']:8,.0f} images/s, {turn['peak_memory'] / 1e6:6,.0f} MB"
                print(f"round {number} of {asked.rounds}: {_words(cell)}: {words}", flush=True)
    figures = scaling_figures(turns)
    print("\n" + keep("scaling", figures, figures["machine"]["processor_kind"]))
    print(f"kept in {RESULTS}, {PAGE}")


def scaling_figures(turns: dict[Cell, list[dict[str, Any]]]) -> dict[str, Any]:
    taken = next(iter(turns.values()))
    return {
        "machine": this_machine(taken[0]["made_with"]),
        "rounds": len(taken),
        "cells": [_line(cell, turns[cell]) for cell in turns],
    }


def _line(cell: Cell, taken: list[dict[str, Any]]) -> dict[str, Any]:
    rate = spread([turn["images_per_second"] for turn in taken])
    return {
        "repeats": cell.repeats,
        "zoom": cell.zoom,
        "images": taken[0]["images"],
        "size": taken[0]["size"],
        "images_per_second": rate,
        "epoch_seconds": round(taken[0]["images"] / rate["median"], 2),
        "peak_memory": max(turn["peak_memory"] for turn in taken),
        "peak_own_memory": max(turn["peak_own_memory"] for turn in taken),
    }


def _words(cell: Cell) -> str:
    return f"the images {cell.repeats}x, {cell.zoom}x as wide"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm-up", type=float, default=2.0, help="seconds before each timing, one step at least")
    parser.add_argument("--seconds", type=float, default=5.0, help="timed in each turn, one step at least")
    parser.add_argument("--images", type=int, default=45_000, help="how many of the training images, to try it out")
    return parser


if __name__ == "__main__":
    run_tool(main)
