"""What a person calls a state of the project: an experiment, a branch, a tag, a commit, or the workspace."""

import difflib
import shlex
from dataclasses import dataclass
from pathlib import Path

from stages.console.errors import DataError
from stages.console.text import printable
from stages.verifying.git import git
from stages.verifying.lock import LOCK, Damaged, Stage, parse_lock, read_lock

WORKSPACE = "workspace"
EXPERIMENTS = "refs/exps/"  # below it the baseline's hash, cut after two digits, and the name


@dataclass(frozen=True)
class Revision:
    """A state by its name, its commit (empty for the workspace), and what its dvc.lock says was made from what."""

    name: str
    commit: str
    kind: str  # workspace, branch, tag, experiment or commit
    stages: list[Stage]

    @property
    def title(self) -> str:
        """The name, and the commit where the name does not say it."""
        name, short = printable(self.name), self.commit[:7]
        return name if not short or self.commit.startswith(self.name) else f"{name} ({short})"

    @property
    def again(self) -> str:
        """The command line that makes its results anew."""
        name = shlex.quote(self.name)
        back = {WORKSPACE: "", "experiment": f"dvc exp apply {name}; "}
        files = " ." if self.name == "HEAD" else ""  # without, git would keep what was changed
        return back.get(self.kind, f"git checkout {name}{files} && ") + "dvc repro"

    @property
    def way(self) -> str:
        """How to get its results anew, as the end of a sentence."""
        return f"{self.first}run {self.again}"

    @property
    def first(self) -> str:
        """What is to be done before that: to keep what was changed since the last commit, if anything was."""
        changed = self.kind != WORKSPACE and git("diff", "--quiet", "HEAD") is None
        return "git stash keeps your changes, do that first; " if changed else ""


@dataclass(frozen=True)
class Experiment:
    """What `dvc exp run` left: a commit beside the branches."""

    name: str
    baseline: str
    commit: str


def find_revision(name: str) -> Revision:
    """Find a state by its name, as DVC does: first what git knows, then the experiments.

    Raises:
        DataError: there is none, or more than one, or it has no results.
    """
    if name == WORKSPACE:
        return Revision(name, "", WORKSPACE, read_lock())
    commit, kind = _in_git(name) or _among_experiments(name)
    text = git("show", f"{commit}:./{LOCK}")
    if text is None:
        raise DataError(f"{printable(name)} has no {LOCK}: nothing was committed after a dvc repro; compare another")
    try:
        return Revision(name, commit, kind, parse_lock(text))
    except Damaged as fault:
        raise DataError(f"{printable(name)}: its {LOCK} is damaged ({fault}); compare another") from None


def experiments() -> list[Experiment]:
    """All experiments of this repository."""
    found = []
    for line in (git("for-each-ref", "--format=%(objectname) %(refname)", EXPERIMENTS) or "").splitlines():
        commit, _, ref = line.partition(" ")
        first, _, rest = ref.removeprefix(EXPERIMENTS).partition("/")
        second, _, name = rest.partition("/")
        if len(first + second) == 40:  # the others are DVC's own, of runs and of its queue
            found.append(Experiment(name, first + second, commit))
    return found


def _in_git(name: str) -> tuple[str, str] | None:
    """The commit of a name that git knows, and its kind."""
    # An experiment's name may begin with a dash; nothing that git resolves does.
    commit = None if name.startswith("-") else git("rev-parse", "--quiet", "--verify", f"{name}^{{commit}}")
    if commit is None:
        return None
    for kind, folder in (("branch", "refs/heads"), ("tag", "refs/tags")):
        if git("rev-parse", "--quiet", "--verify", f"{folder}/{name}") is not None:
            return commit.strip(), kind
    return commit.strip(), "commit"


def _among_experiments(name: str) -> tuple[str, str]:
    every = experiments()
    named = [experiment for experiment in every if experiment.name == name]
    head = (git("rev-parse", "HEAD") or "").strip()
    of_head = [experiment for experiment in named if experiment.baseline == head]
    chosen = of_head or named
    if len(chosen) > 1:
        commits = " or ".join(experiment.commit[:7] for experiment in chosen)
        raise DataError(
            f"{printable(name)} is the name of {len(chosen)} experiments; name one by its commit: {commits}"
        )
    if not chosen:
        raise DataError(_unknown(name, [experiment.name for experiment in every]))
    return chosen[0].commit, "experiment"


def _unknown(name: str, names: list[str]) -> str:
    if not Path(".git").exists() and git("rev-parse", "--git-dir") is None:
        return "this folder is in no git repository; run in the folder of dvc.yaml"
    if git("rev-parse", "--quiet", "--verify", "HEAD") is None:
        return f"{printable(name)} is not known: nothing is committed yet; git add -A && git commit after dvc repro"
    branches = git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags") or ""
    known = [*dict.fromkeys([*names, *branches.splitlines(), "HEAD", WORKSPACE])]
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(map(printable, near))}?" if near else "dvc exp show and git branch list them"
    return f"{printable(name)} is no experiment, branch, tag or commit here; {hint}"
