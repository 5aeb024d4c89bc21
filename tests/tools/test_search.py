"""A search: the same recipes for the same results, halving in a run's own schedule, and what is told of lost runs."""

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imageclf.runtime.errors import DataError, ParamsError
from tests.conftest import HANGS, Project
from tests.imports import ROOT
from tests.tools.stub import commit, make_stub
from tests.tools.test_sweep import _is_alive, _wait_for
from tools.sweeping.grid import Run
from tools.sweeping.results import PRUNED, Experiments, Failure, Finished
from tools.sweeping.search import Search, epochs_to_judge, needed_top1
from tools.sweeping.space import Range, Tried, read_space, suggest

pytest.importorskip("optuna", reason="requirements-search.lock has it")
LR = "train.lr=0.001..1"
BOTH = [LR, "train.optimizer=sgd,muon"]


@pytest.fixture(autouse=True)
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)


class Known(Experiments):
    """The results of runs that only a test has."""

    def __init__(self) -> None:
        self.baseline, self.finished = "", dict[str, Finished]()

    def result(self, name: str) -> Finished | None:
        return self.finished.get(name)


def score(run: Run) -> float:
    """Best at 0.03."""
    return round(0.9 - 0.2 * abs(math.log10(float(run.settings["train.lr"]) / 0.03)), 6)


def searching(known: Known, *changes: str, kind: str = "tpe", runs: int = 14, seed: int = 0, jobs: int = 1) -> Search:
    space = read_space(changes, b"")
    return Search(
        space, kind=kind, recipes=runs // space.seeds, seed=seed, jobs=jobs, folder=Path("sweep"), experiments=known
    )


def finish(known: Known, run: Run) -> None:
    known.finished[run.name] = Finished(score(run), [score(run) * epoch / 9 for epoch in range(1, 10)])


def go_through(search: Search, known: Known, end: Callable[[Known, Run], None] = finish) -> list[str]:
    """Run it all; the names of the runs that were started."""
    names = []
    while run := search.next_run():
        names.append(run.name)
        end(known, run)
    return names


def test_the_same_seed_and_results_give_the_same_recipes(tmp_path: Path) -> None:
    known = Known()
    names = go_through(searching(known, *BOTH), known)
    shutil.rmtree("sweep")  # the experiments say enough
    again = searching(known, *BOTH)
    assert [run.name for run in again.runs] == names and go_through(again, known) == []
    assert len(set(names)) == 14
    fresh = Known()
    assert go_through(searching(fresh, *BOTH, seed=1), fresh)[:8] != names[:8]


def test_several_at_a_time_give_the_same_recipes_in_whatever_order_they_end() -> None:
    found = []
    for last_first in (False, True):
        known = Known()
        search, running = searching(known, *BOTH, jobs=3), list[Run]()
        while True:
            while len(running) < 3 and (run := search.next_run()):
                running.append(run)
            if not running:
                break
            finish(known, running.pop(-1 if last_first else 0))
        found.append([run.name for run in search.runs])
        shutil.rmtree("sweep")
    assert found[0] == found[1]


def test_tpe_gathers_where_the_results_are_best() -> None:
    known = Known()
    search = searching(known, LR, runs=24)
    go_through(search, known)
    distances = [0.9 - score(run) for run in search.runs]
    assert sum(distances[8:]) / 16 < 0.75 * sum(distances[:8]) / 8


def test_a_recipe_that_diverged_is_kept_away_from_and_not_run_again() -> None:
    known = Known()
    search = searching(known, LR, runs=24)
    low = []
    while run := search.next_run():
        if float(run.settings["train.lr"]) > 0.1:
            search.failed(run, Failure("diverged", "the loss became nan"))
        else:
            finish(known, run)
            low.append(search.runs.index(run))
    assert sum(index < 8 for index in low) < 7 < sum(index >= 8 for index in low)
    again = searching(known, LR, runs=24)
    assert again.next_run() is None and len(again.failures) == 24 - len(low)


def test_a_killed_run_goes_on_without_another_choice_of_those_after_it() -> None:
    known = Known()
    search = searching(known, *BOTH)
    killed = None
    while run := search.next_run():
        if killed:
            finish(known, run)
        else:
            killed = run
            search.failed(run, Failure("killed", ""))
    assert killed
    again = searching(known, *BOTH)
    assert go_through(again, known) == [killed.name]
    assert [run.name for run in again.runs] == [run.name for run in search.runs]


def test_more_runs_are_added_to_those_that_are_there() -> None:
    known = Known()
    first = go_through(searching(known, *BOTH, runs=9), known)
    assert len(go_through(searching(known, *BOTH, runs=12), known)) == 3
    assert [run.name for run in searching(known, *BOTH, runs=12).runs][:9] == first


def test_every_seed_of_a_recipe_is_run_before_the_next_is_chosen() -> None:
    known = Known()
    search = searching(known, LR, "train.seed=0,1,2", runs=6)
    go_through(search, known)
    assert [run.settings["train.seed"] for run in search.runs] == ["0", "1", "2"] * 2
    assert len({run.recipe for run in search.runs}) == 2


def test_a_run_is_pruned_that_is_not_in_the_better_half_at_the_same_fraction_of_its_epochs() -> None:
    assert epochs_to_judge(9) == {4: 3, 2: 5}
    assert epochs_to_judge(2) == {2: 1} and epochs_to_judge(1) == epochs_to_judge(0) == {}
    assert needed_top1([]) is None
    assert needed_top1([0.5]) == 0.5
    assert needed_top1([0.1, 0.5, 0.3]) == 0.3  # two of four go on
    assert needed_top1([0.1, 0.5, 0.3, 0.2]) == 0.3


def test_runs_of_other_lengths_are_compared_by_the_fraction_of_their_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Known()
    search = searching(known, LR, "train.epochs=8,16", kind="halving", runs=8)
    told = {}
    while run := search.next_run():
        told[run.name] = search.environment(run)["NEEDED_BY_EPOCH"]
        steps = [0.01 * fraction for fraction in range(1, 17)][:: 16 // run.epochs]
        known.finished[run.name] = Finished(steps[-1], steps)
    first, *others = search.runs
    assert told[first.name] == "{}"
    assert {run.epochs for run in others} == {8, 16}
    for run in others:
        assert re.findall(r'"(\d+)"', told[run.name]) == [str(run.epochs // 4), str(run.epochs // 2)]


def test_a_pruned_run_is_a_rival_and_is_not_run_again() -> None:
    known = Known()
    search = searching(known, LR, kind="halving", runs=3)
    first = search.next_run()
    assert first
    known.finished[first.name] = Finished(0.9, [0.5] * 9)
    second = search.next_run()
    assert second
    assert search.environment(second)["NEEDED_BY_EPOCH"] == '{"3": 0.5, "5": 0.5}'
    Path(search.environment(second)["RECORD_IF_PRUNED"]).write_text("[0.1, 0.2, 0.4]")
    search.failed(second, Failure(PRUNED, "train: pruned after epoch 3/9 at 40.00 %, below 50.00 %"))
    again = searching(known, LR, kind="halving", runs=3)
    third = again.next_run()
    assert third and third.name not in (first.name, second.name)
    # Of three one goes on after epoch 3; after epoch 5, of two, one.
    assert again.environment(third)["NEEDED_BY_EPOCH"] == '{"3": 0.5, "5": 0.5}'
    (failure,) = again.failures.values()
    assert failure.reason == "pruned after epoch 3/9 at 40.00 %, below 50.00 %"


def test_a_damaged_memory_is_said_to_be() -> None:
    known = Known()
    go_through(searching(known, LR, runs=2), known)
    (file,) = Path("sweep").glob("*.json")
    file.write_text('{"recipes": []}')
    with pytest.raises(DataError, match="is damaged; remove it"):
        searching(known, LR, runs=2)


def test_all_recipes_of_a_small_space_are_found_once_each() -> None:
    space = read_space(["train.optimizer=sgd,muon,adamw", "train.augment.translate=0..3"], b"")
    assert space.size == 12
    tried: list[Tried] = []
    while len(tried) < 12:
        tried.append(Tried(suggest(space, tried, seed=0), top1=0.5))
    assert len({tuple(each.recipe.items()) for each in tried}) == 12


def test_a_range_is_whole_and_logarithmic_where_that_fits_the_param() -> None:
    changes = ["train.batch_size=8..512", "train.augment.mixup=0..1", "train.lr=0.1..0.9", "train.epochs=2..9:log"]
    assert list(read_space(changes, b"").axes.values()) == [
        Range("8", "512", whole=True, log=True),
        Range("0", "1", whole=False, log=False),
        Range("0.1", "0.9", whole=False, log=False),
        Range("2", "9", whole=True, log=True),
    ]
    assert read_space(["train.lr=0.001..0.9:linear"], b"").axes == {"train.lr": Range("0.001", "0.9", False, False)}


def test_a_value_keeps_three_digits_and_stays_within_its_range() -> None:
    narrow = Range("0.012345", "0.0123499", whole=False, log=False)
    assert {narrow.text(narrow.at(place)) for place in (0.0, 0.5, 0.99)} <= {"0.012345", "0.0123499"}
    assert Range("0.001", "1", whole=False, log=True).text(0.0123456) == "0.0123"
    dice = Range("1", "6", whole=True, log=False)
    assert [dice.text(dice.at(place / 12)) for place in range(12)] == list("112233445566")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("train.lr=0.1..0.01", "a range begins with its lower end; write 0.01..0.1"),
        ("train.lr=0.1..0.1", "a range begins with its lower end"),
        ("train.label_smoothing=0..1:log", "a log scale begins above 0"),
        ("train.seed=0..4", "seeds repeat each recipe; list them"),
        ("train.lr=-1..0.1", "train.lr is -1"),
        ("train.optimizer=1..3", "train.optimizer is 1"),
        ("train.lr=0.1", "only one recipe, so there is nothing to search"),
        ("export.opset=18..19", "cannot change the validation top-1"),
    ],
)
def test_a_wrong_space_is_one_sentence(change: str, sentence: str) -> None:
    with pytest.raises(ParamsError, match=re.escape(sentence)) as refused:
        read_space([change], b"")
    assert "\n" not in str(refused.value)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = make_stub(tmp_path / "stub")
    commit(project, "the pipeline")
    return project


HALVING = ("python", "-m", "tools.sweep", "--search", "halving", "--runs", "4", "-S", "train.lr=0.1,0.2,0.3,0.5")


@pytest.mark.slow
def test_a_killed_a_diverged_and_a_pruned_run_stand_in_the_table_and_only_the_killed_goes_on(project: Project) -> None:
    (project.folder / "wait-0.1-0").touch()  # the order is 0.2, 0.5, 0.3, 0.1
    (project.folder / "fail-0.3-0").write_text("6")
    sweep = _start(project, HALVING)
    os.kill(_wait_for(project.folder / "train.pid"), signal.SIGKILL)
    printed, _ = sweep.communicate(timeout=HANGS)
    assert sweep.returncode == 1
    rows = [
        r"  lr +runs  val top-1  sd  95 % interval  pruned or failed",
        r"  0\.2  1 +80\.00 % +– +– +–",
        r"  0\.5  0 +– +– +– +pruned after epoch 3/9 at 16\.67 %, below 26\.67 %",
        r"  0\.3  0 +– +– +– +diverged",
        r"  0\.1  0 +– +– +– +killed",
    ]
    assert re.search("\n".join(["", *rows, ""]), printed), printed
    assert printed.endswith("sweep: 1 of 4 runs failed; run the same line again to continue lr 0.1\n")
    (project.folder / "wait-0.1-0").unlink()
    again = project.run(*HALVING)
    assert "4 runs, 3 of them done before" in again
    rows[1:] = [r"  0\.1  1 +90\.00 % +– +– +–", *rows[1:4]]
    assert re.search("\n".join(["", *rows, ""]), again), again
    assert (project.folder / "runs.txt").read_text().splitlines() == ["0.2 0", "0.1 0"]


@pytest.mark.slow
def test_two_runs_at_a_time_do_not_wait_for_each_other_and_ctrl_c_ends_them(project: Project) -> None:
    (project.folder / "wait-0.1-0").touch()
    grid = ("python", "-m", "tools.sweep", "--jobs", "2", "-S", "train.lr=0.1,0.2,0.3")
    sweep = _start(project, grid)
    waiting = _wait_for(project.folder / "train.pid")
    deadline = time.monotonic() + HANGS
    while project.run("git", "for-each-ref", "refs/exps").count("/lr-0.") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    sweep.send_signal(signal.SIGINT)
    printed, _ = sweep.communicate(timeout=HANGS)
    assert sweep.returncode == 130
    assert printed.endswith("sweep: stopped by Ctrl-C; run the same line again to continue\n")
    while _is_alive(waiting) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _is_alive(waiting)
    (project.folder / "wait-0.1-0").unlink()
    assert re.search(r"^  0\.1 +1 +90\.00 %", project.run(*grid), re.MULTILINE)
    assert sorted((project.folder / "runs.txt").read_text().splitlines()) == ["0.1 0", "0.2 0", "0.3 0"]


def _start(project: Project, command: tuple[str, ...]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command[1:]],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_range_needs_a_search_and_a_search_no_more_runs_than_there_are(project: Project) -> None:
    grid = ("python", "-m", "tools.sweep", "-S", LR)
    assert "a range needs --search tpe or halving" in project.run(*grid, expect=2)
    assert "--runs and --search-seed are for a search" in project.run(*grid, "--runs", "3", expect=2)
    few = ("python", "-m", "tools.sweep", "--search", "tpe", "-S", "train.optimizer=sgd,muon")
    assert "there are only 2 recipes" in project.run(*few, expect=2)
    assert "it can be a multiple of the number of seeds, 2" in project.run(
        *few, "-S", "train.seed=0,1", "--runs", "3", expect=2
    )
    assert "--jobs is 0; it can be 1 to " in project.run(*few, "--jobs", "0", expect=2)
    short = (*few[:4], "halving", *few[5:], "-S", "train.epochs=1", "--runs", "2")
    assert "needs runs of 2 epochs or more" in project.run(*short, expect=2)
