"""Run a grid of params, or search among them, and rank the results.

    python -m tools.sweep -S train.lr=0.05,0.1 -S train.seed=0,1,2
    python -m tools.sweep --search tpe --runs 20 -S train.lr=0.001..0.1 -S train.optimizer=sgd,muon

Each run is a DVC experiment in its own workspace, up to evaluate. The runs follow one another, since a run uses all
cores, unless `--jobs` divides these. Run the same line again to add the missing runs; a killed run continues from its
checkpoint. The exit code is 0 if all runs are there and 1 if one failed; a search takes one that is pruned, diverged
or was refused as a result. The ranking is by validation top-1, never by test images. Params, paths and models are
checked before the first run trains.
"""

import argparse
import sys

from imageclf.images.dataset import RANKED
from imageclf.runtime.errors import ParamsError, printable
from imageclf.runtime.platform import available_cores
from imageclf.runtime.stage import run_tool
from tools.sweeping.grid import Run, planned_runs, remarks
from tools.sweeping.results import Experiments, Failure, advice
from tools.sweeping.running import LOGS, Listed, run_plan, uncommitted_code
from tools.sweeping.search import Search, epochs_to_judge
from tools.sweeping.space import check_optuna, is_range, read_space
from tools.sweeping.table import rank, table_lines

RUNS = 20  # of a search, where --runs does not say
RESULTS = (":!metrics", ":!dvc.lock", ":!params.yaml")  # not code


class Grid(Listed):
    """Every combination of the values; a search (`tools.sweeping.search`) plans its runs as it goes."""

    def __init__(self, runs: list[Run], experiments: Experiments) -> None:
        super().__init__([run for run in runs if not experiments.result(run.name)], {RANKED: "1"})
        self.runs, self.extent, self.total = runs, runs, len(runs)

    @property
    def lost(self) -> dict[Run, Failure]:
        """Runs without a result for someone to see to: all that failed."""
        return self.failures


def main() -> None:
    # 1. Plan the runs; find those that are there.
    options, experiments = _arguments(), Experiments()
    code = uncommitted_code()
    plan = _search(options, code, experiments) if options.search else _grid(options, code, experiments)
    done = sum(experiments.result(run.name) is not None for run in plan.runs) + len(plan.failures)
    print(
        f"sweep: {plan.total} run{'s' if plan.total > 1 else ''}, {done} of them done before",
        *remarks(plan.extent),
        sep="\n",
        flush=True,
    )

    # 2. Run what is missing.
    for _ in run_plan("sweep", plan, jobs=options.jobs, missing=plan.total - done):
        experiments.look_again()

    # 3. Print the ranking.
    results = {run: experiments.result(run.name) for run in plan.runs}
    top1 = {run: result.top1 for run, result in results.items() if result}
    print("\n" + "\n".join(table_lines(rank(plan.runs, top1, plan.failures))), flush=True)
    if plan.lost:
        named = {str(run): failure for run, failure in plan.lost.items()}
        print(f"sweep: {len(named)} of {plan.total} runs failed; {advice(named)}", file=sys.stderr)
        raise SystemExit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.sweep",
        description="Run every combination of the given values, or search among them, and rank the recipes.",
    )
    parser.add_argument(
        "-S",
        "--set-param",
        action="append",
        required=True,
        metavar="KEY=VALUES",
        help="a param and its values, train.lr=0.1,0.2, or for a search a range, train.lr=0.001..0.1; repeat the "
        "option for another param",
        dest="set",
    )
    parser.add_argument(
        "--search",
        choices=("tpe", "halving"),
        help="choose the runs by the results so far (tpe), and also stop those that do badly early (halving)",
    )
    parser.add_argument("--runs", type=int, help="runs of a search, all seeds together (default: 20 of each seed)")
    parser.add_argument("--search-seed", type=int, default=0, help="another gives another search (default: 0)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, which share the cores (default: 1)")
    options = parser.parse_args()
    if not 1 <= options.jobs <= available_cores():
        raise ParamsError(f"--jobs is {options.jobs}; it can be 1 to {available_cores()}, the number of cores")
    if options.search_seed < 0:
        raise ParamsError(f"--search-seed is {options.search_seed}; it can be 0 or more")
    return options


def _grid(options: argparse.Namespace, code: bytes, experiments: Experiments) -> Grid:
    if options.runs is not None or options.search_seed:
        raise ParamsError("--runs and --search-seed are for a search; add --search tpe or --search halving")
    if ranges := [change for change in options.set if is_range(change)]:
        raise ParamsError(f"-S {printable(ranges[0])}: a range needs --search tpe or halving; a grid takes values")
    return Grid(planned_runs(options.set, code), experiments)


def _search(options: argparse.Namespace, code: bytes, experiments: Experiments) -> Search:
    check_optuna()
    space = read_space(options.set, code)
    total = RUNS * space.seeds if options.runs is None else options.runs
    if total < 1 or total % space.seeds:
        raise ParamsError(f"--runs is {total}; it can be a multiple of the number of seeds, {space.seeds}")
    recipes = total // space.seeds
    if recipes > space.size:
        raise ParamsError(f"there are only {space.size} recipes; leave out --search to run all, or lower --runs")
    if options.search == "halving" and not any(epochs_to_judge(run.epochs) for run in space.ends):
        raise ParamsError("--search halving needs runs of 2 epochs or more; raise train.epochs, or use --search tpe")
    return Search(
        space,
        kind=options.search,
        recipes=recipes,
        seed=options.search_seed,
        jobs=options.jobs,
        folder=LOGS / "sweep",
        experiments=experiments,
    )


if __name__ == "__main__":
    run_tool(main)
