"""Ours and the alternatives side by side, taking turns: `make bench`; or `python -m benchmarks` after `dvc repro`.

Each turn is a process of its own: some warm-up, then steps for a few seconds. Writes the section speed of
benchmarks/results.json, benchmarks/RESULTS.md and a chart. Under ten minutes on two cores that have
nothing else to do; on busy ones the figures are noise.
"""

import argparse
import statistics
from typing import Any

from benchmarks.chart import chart_of, draw_speed
from benchmarks.lineup import CONTESTANTS, PAIRS, PEAK
from benchmarks.results import PAGE, RESULTS, keep, spread, this_machine
from benchmarks.watch import take_turn
from imageclf.images.dataset import PREPARED
from imageclf.runtime.stage import run_tool

Turns = dict[str, list[dict[str, Any]]]  # of each contestant, one a round


def main() -> None:
    asked = _parser().parse_args()
    turns: Turns = {name: [] for name in [PEAK, *(asked.only or CONTESTANTS)]}
    for number in range(1, asked.rounds + 1):
        # Back and forth, so that no one always follows the same neighbour.
        for name in list(turns) if number % 2 else list(reversed(turns)):
            turn = take_turn(name, data=PREPARED, warm_up=asked.warm_up, seconds=asked.seconds)
            turns[name].append(turn)
            print(f"round {number} of {asked.rounds}: {name:21} {_words(turn)}", flush=True)
    figures = speed_figures(turns)
    kind = figures["machine"]["processor_kind"]
    print("\n" + keep("speed", figures, kind), flush=True)
    draw_speed(figures, chart_of(kind))
    print(f"kept in {RESULTS}, {PAGE}, {chart_of(kind)}")


def speed_figures(turns: Turns) -> dict[str, Any]:
    """What is kept of all the turns: medians and spreads, shares of the peak, ratios round by round."""
    peaks = turns[PEAK]
    peak = {precision: spread([each[precision] for each in peaks]) for precision in ("fp32", "bf16")}
    rates = {name: [turn["images_per_second"] for turn in taken] for name, taken in turns.items() if name != PEAK}
    return {
        "machine": this_machine(peaks[0]["made_with"]),
        "rounds": len(peaks),
        "peak": peak,
        "contestants": {name: _contestant(name, turns[name], peak) for name in rates},
        "ratios": {
            f"{pair.left} / {pair.right}": spread(
                [left / right for left, right in zip(rates[pair.left], rates[pair.right], strict=True)]
            )
            for pair in PAIRS
            if {pair.left, pair.right} <= set(rates)
        },
    }


def _contestant(name: str, taken: list[dict[str, Any]], peak: dict[str, Any]) -> dict[str, Any]:
    rate = spread([turn["images_per_second"] for turn in taken])
    flops, precision = taken[0]["flops_per_image"], taken[0]["precision"]
    shares = [1e-9 * flops * turn["images_per_second"] / peak[precision]["median"] for turn in taken]
    return {
        "images_per_second": rate,
        "epoch_seconds": round(CONTESTANTS[name].epoch / rate["median"], 2),
        "flops_per_image": flops,
        "precision": precision,
        "share_of_peak": round(statistics.median(shares), 4),
        "peak_memory": max(turn["peak_memory"] for turn in taken),
        "peak_own_memory": max(turn["peak_own_memory"] for turn in taken),
        "finish_seconds": spread([turn["finish_seconds"] for turn in taken]),
    }


def _words(turn: dict[str, Any]) -> str:
    if "images_per_second" in turn:
        return f"{turn['images_per_second']:8,.0f} images/s, {turn['peak_memory'] / 1e6:6,.0f} MB"
    return ", ".join(f"{turn[precision]:,.0f} GFLOP/s {precision}" for precision in ("fp32", "bf16"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm-up", type=float, default=2.0, help="seconds before each timing, one step at least")
    parser.add_argument("--seconds", type=float, default=5.0, help="timed in each turn, one step at least")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, metavar="NAME", help=", ".join(CONTESTANTS))
    return parser


if __name__ == "__main__":
    run_tool(main)
