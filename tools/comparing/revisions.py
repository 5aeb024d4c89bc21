"""Find a revision by its name: the workspace, a branch, a tag, a commit or an experiment."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from imageclf.runtime.errors import DataError, closest, printable
from tools.repository import LOCK, Damaged, Stage, git, head, parse_lock, read_lock

WORKSPACE = "workspace"
EXPERIMENTS = "refs/exps/"  # then the baseline's hash, split after two digits, and the name


@dataclass(frozen=True)
class Revision:
    """A name, its commit (empty for the workspace), and its dvc.lock."""

    name: str
    commit: str
    kind: str  # workspace, branch, tag, experiment or commit
    stages: list[Stage]

    @property
    def title(self) -> str:
        """The name, and the commit unless the name is the commit."""
        name, short = printable(self.name), self.commit[:7]
        return name if not short or self.commit.startswith(self.name) else f"{name} ({short})"

    @property
    def again(self) -> str:
        """The command line that makes its results again."""
        name = shlex.quote(self.name)
        back = {WORKSPACE: "", "experiment": f"dvc exp apply {name}; "}
        files = " ." if self.name == "HEAD" else ""  # without it git keeps local changes
        return back.get(self.kind, f"git checkout {name}{files} && ") + "dvc repro"

    @property
    def way(self) -> str:
        """How to make its results again, as the end of a sentence."""
        return f"{self.first}run {self.again}"

    @property
    def first(self) -> str:
        """The step before that: stash local changes, if there are any."""
        changed = self.kind != WORKSPACE and git("diff", "--quiet", "HEAD") is None
        return "git stash first, which keeps your changes, then " if changed else ""


@dataclass(frozen=True)
class Experiment:
    """An experiment of `dvc exp run`: a commit outside the branches."""

    name: str
    baseline: str
    commit: str


def find_revision(name: str) -> Revision:
    """Find a revision by its name, as DVC does: first in git, then among the experiments.

    Raises:
        DataError: there is none, more than one, or no results.
    """
    if name == WORKSPACE:
        return Revision(name, "", WORKSPACE, read_lock())
    commit, kind = _in_git(name) or _among_experiments(name)
    text = git("show", f"{commit}:./{LOCK}")
    if text is None:
        raise DataError(f"{printable(name)} has no {LOCK}: no results are committed; compare another")
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
        if len(first + second) == 40:  # the other refs are DVC's own
            found.append(Experiment(name, first + second, commit))
    return found


def _in_git(name: str) -> tuple[str, str] | None:
    """The commit and kind of a name that git knows."""
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
    here = head()
    of_head = [experiment for experiment in named if experiment.baseline == here]
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
        return "this folder is not in a git repository; run in the folder of dvc.yaml"
    if git("rev-parse", "--quiet", "--verify", "HEAD") is None:
        return f"{printable(name)} is not known: nothing is committed yet; git add -A && git commit after dvc repro"
    branches = git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags") or ""
    known = [*dict.fromkeys([*names, *branches.splitlines(), "HEAD", WORKSPACE])]
    near = closest(name, known)
    hint = f"did you mean {printable(near)}?" if near else "dvc exp show and git branch list them"
    return f"{printable(name)} is no experiment, branch, tag or commit here; {hint}"
