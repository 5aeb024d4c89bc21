"""The space of a search: ranges and lists of values, and what Optuna's TPE suggests next in it."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imageclf.runtime.errors import MachineError, ParamsError, printable
from tools.sweeping.grid import SEED, Run, is_valid, planned_runs

NUMBER = r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?"
RANGE = re.compile(rf"({NUMBER})\.\.({NUMBER})(:log|:linear)?", re.IGNORECASE)
LOG_FROM = 10  # a range whose ends differ by more than this factor is searched on a log scale
EVEN = 8  # recipes at the beginning, spread evenly, before TPE has something to learn from
TRIES = 10  # suggestions that were made before, until one is drawn


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, as typed."""

    low: str
    high: str
    whole: bool
    log: bool

    def at(self, place: float) -> float:
        """The value at a place from 0 to 1 along the scale."""
        low, high = float(self.low), float(self.high)
        if self.whole and not self.log:
            return math.floor(low + place * (high + 1 - low))
        value = low * (high / low) ** place if self.log else low + place * (high - low)
        return round(value) if self.whole else value

    def text(self, value: float) -> str:
        """A value as a run is given it: integers whole, others with three significant digits, never beyond the ends."""
        if self.whole:
            return str(int(value))
        short = f"{value:.3g}"
        if float(short) <= float(self.low):
            return self.low
        return self.high if float(short) >= float(self.high) else short


@dataclass(frozen=True)
class Space:
    """What is searched: for each key a range, or values as typed; and the seeds that each recipe is run with."""

    axes: dict[str, Range | list[str]]  # in the order of the command line, SEED among them if it was given
    ends: list[Run]  # every combination of the listed values and of the ranges' ends
    code: bytes  # as for `planned_runs`

    @property
    def seeds(self) -> int:
        """How many runs a recipe has."""
        return max(1, len(self._listed(SEED)))

    @property
    def searched(self) -> dict[str, Range | list[str]]:
        """The axes that a recipe has a value of: those with several."""
        return {key: axis for key, axis in self.axes.items() if key != SEED and len(self._listed(key)) != 1}

    @property
    def size(self) -> float:
        """How many recipes there are; infinite with a range of real numbers."""
        sizes: list[float] = []
        for axis in self.searched.values():
            if isinstance(axis, list):
                sizes.append(len(axis))
            else:
                sizes.append(int(axis.high) - int(axis.low) + 1 if axis.whole else math.inf)
        return math.prod(sizes)

    def changes(self, recipe: Mapping[str, str]) -> list[str]:
        """A recipe with its seeds, as `planned_runs` reads it."""
        return [f"{key}={recipe.get(key) or ','.join(self._listed(key))}" for key in self.axes]

    def _listed(self, key: str) -> list[str]:
        axis = self.axes.get(key, [])
        return axis if isinstance(axis, list) else []


def is_range(change: str) -> bool:
    """Whether a change such as `train.lr=0.001..0.1` gives a range."""
    return RANGE.fullmatch(change.partition("=")[2].strip()) is not None


def read_space(changes: Sequence[str], code: bytes) -> Space:
    """The space that changes such as `train.lr=0.001..0.1` and `train.optimizer=sgd,muon` span.

    Every combination of the listed values and of the ranges' ends is checked, as a grid is.

    Raises:
        ParamsError: a change cannot be read, or is invalid.
        DataError: a run could not see its images or weights, or would have no validation images.
    """
    ends, found = [], dict[str, re.Match[str]]()
    for change in changes:
        key, _, text = change.partition("=")
        if match := RANGE.fullmatch(text.strip()):
            _check_range(change, key, match)
            found[key] = match
            change = f"{key}={match[1]},{match[2]}"
        ends.append(change)
    corners = planned_runs(ends, code)
    axes: dict[str, Range | list[str]] = {}
    for key in corners[0].settings:
        if match := found.get(key):
            axes[key] = _range(key, match)
        else:
            axes[key] = list(dict.fromkeys(run.settings[key] for run in corners))
    space = Space(axes, corners, code)
    if not space.searched:
        raise ParamsError("there is only one recipe, so there is nothing to search; give a range, train.lr=0.001..0.1")
    return space


def _check_range(change: str, key: str, match: re.Match[str]) -> None:
    low, high, scale = float(match[1]), float(match[2]), match[3]
    if key == SEED:
        raise ParamsError(f"-S {printable(change)}: seeds repeat each recipe; list them, {SEED}=0,1,2")
    if low >= high:
        raise ParamsError(f"-S {printable(change)}: a range begins with its lower end; write {match[2]}..{match[1]}")
    if scale == ":log" and low <= 0:
        raise ParamsError(f"-S {printable(change)}: a log scale begins above 0; raise the lower end")


def _range(key: str, match: re.Match[str]) -> Range:
    low, high, scale = match.groups()
    integers = not set(low + high) - set("+-0123456789")
    whole = integers and not is_valid(key, int(low) + 0.5)
    wide = float(low) > 0 and float(high) / float(low) > LOG_FROM
    return Range(low, high, whole, scale == ":log" or (wide and scale is None))


@dataclass(frozen=True)
class Tried:
    """A recipe that was tried, or is being: what TPE learns from."""

    recipe: dict[str, str]
    top1: float | None = None  # validation, the mean over its seeds
    pruned: tuple[int, float] | None = None  # the last epoch, and the top-1 there
    unfit: bool = False  # it diverged, or is refused: worse than any that was pruned
    running: bool = False


def suggest(space: Space, tried: Sequence[Tried], *, seed: int) -> dict[str, str]:
    """The next recipe, unlike all tried: a function of the space, the seed and `tried`, in their order.

    A tree-structured Parzen estimator (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"), as Optuna
    has it. The first ones are points of a Sobol' sequence, and so is what would come twice. `space.size` must be above
    `len(tried)`.

    Raises:
        MachineError: Optuna is not installed.
    """
    known = [each.recipe for each in tried]
    for attempt in itertools.count():
        if len(tried) >= EVEN and attempt < TRIES:
            number = np.random.SeedSequence([seed, len(tried), attempt]).generate_state(1)[0]
            recipe = _ask(space.searched, tried, int(number))
        else:
            recipe = _draw(space.searched, len(tried) + attempt, seed)
        if recipe not in known:
            return recipe
    raise AssertionError


def check_optuna() -> None:
    """Check that there is Optuna.

    Raises:
        MachineError: it is not installed.
    """
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise MachineError(
            "sweep: --search needs Optuna, which is not installed; "
            "pip install --require-hashes -r requirements-search.lock, or leave out --search for a grid"
        ) from None


def _draw(axes: Mapping[str, Range | list[str]], number: int, seed: int) -> dict[str, str]:
    """The recipe at this point of a scrambled Sobol' sequence."""
    from scipy.stats.qmc import Sobol

    points = Sobol(len(axes), rng=seed)
    if number:  # scipy cannot go 0 points ahead
        points.fast_forward(number)
    place = points.random(1)[0]  # (axes,) in [0, 1)
    return {
        key: axis.text(axis.at(each)) if isinstance(axis, Range) else axis[int(each * len(axis))]
        for (key, axis), each in zip(axes.items(), place, strict=True)
    }


def _ask(axes: Mapping[str, Range | list[str]], tried: Sequence[Tried], seed: int) -> dict[str, str]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    states = optuna.trial.TrialState
    distributions = {key: _distribution(axis) for key, axis in axes.items()}
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=1, constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for each in tried:
        if each.running:
            state = states.RUNNING
        elif each.top1 is not None:
            state = states.COMPLETE
        else:
            state = states.PRUNED if each.pruned or each.unfit else states.FAIL
        known = optuna.trial.create_trial(
            state=state,
            params={key: word if isinstance(axes[key], list) else float(word) for key, word in each.recipe.items()},
            distributions=distributions,
            value=each.top1,
            intermediate_values=dict([each.pruned]) if each.pruned else {},
        )
        study.add_trial(known)
    found = study.ask(distributions).params
    return {key: axis.text(found[key]) if isinstance(axis, Range) else found[key] for key, axis in axes.items()}


def _distribution(axis: Range | list[str]):  # type: ignore[no-untyped-def]  # one of Optuna's, which is an extra
    from optuna import distributions

    if isinstance(axis, list):
        return distributions.CategoricalDistribution(axis)
    if axis.whole:
        return distributions.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return distributions.FloatDistribution(float(axis.low), float(axis.high), log=axis.log)
