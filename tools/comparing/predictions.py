"""Find revisions by name, read their predictions, and check that they have the same test images."""

import csv
import hashlib
import io
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imageclf import CODE_FOLDERS
from imageclf.config.params import read_params
from imageclf.runtime.errors import DataError, closest, printable
from imageclf.runtime.files import has_remote
from imageclf.runtime.yaml import flat
from tools.repository import LOCK, Cache, Damaged, Entry, Hashes, Stage, git, parse_lock, read_lock, read_pipeline
from tools.verifying.outputs import changes, words

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
        return "this folder is not in a git repository; run in the folder of dvc.yaml"
    if git("rev-parse", "--quiet", "--verify", "HEAD") is None:
        return f"{printable(name)} is not known: nothing is committed yet; git add -A && git commit after dvc repro"
    branches = git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags") or ""
    known = [*dict.fromkeys([*names, *branches.splitlines(), "HEAD", WORKSPACE])]
    near = closest(name, known)
    hint = f"did you mean {printable(near)}?" if near else "dvc exp show and git branch list them"
    return f"{printable(name)} is no experiment, branch, tag or commit here; {hint}"


PREDICTIONS = Path("metrics/predictions.csv")
COLUMNS = ["id", "path", "label", "prediction", "confidence"]
LEAST = 5e-7  # the largest probability that the file's 6 digits round to 0
FETCH = {  # the command by kind of revision; dvc fetch cannot take a single file with these options
    WORKSPACE: f"dvc pull {PREDICTIONS}",
    "branch": "dvc fetch --all-branches",
    "tag": "dvc fetch --all-tags",
    "commit": "dvc fetch --all-commits",
}


@dataclass(frozen=True)
class Predictions:
    """Label, prediction and confidence of each of N test images. Text arrays hold str."""

    md5: str
    ids: list[str]
    paths: list[str]
    labels: np.ndarray
    answers: np.ndarray
    confidences: np.ndarray
    probabilities: np.ndarray  # of the label

    @property
    def correct(self) -> np.ndarray:
        """Whether each prediction is the label, bool (N,)."""
        return self.answers == self.labels

    @property
    def losses(self) -> np.ndarray:
        """The loss of each image in nats, (N,); probabilities are at least half of the file's last digit."""
        return -np.log(np.maximum(self.probabilities, LEAST))


def read_predictions(revision: Revision) -> Predictions:
    """Read a revision's predictions.

    Raises:
        DataError: the predictions are missing, or not of its classifier.
    """
    maker, entry = _made_by(revision)
    dep = _changed_since(maker, {out.path: (stage, out) for stage in revision.stages for out in stage.outs})
    if dep:
        raise DataError(
            f"{revision.title}: {PREDICTIONS} was made from another {dep} than its dvc.lock has; {revision.way}"
        )
    try:
        return _parse(_bytes(revision, entry).decode(), entry.md5)
    except (ValueError, KeyError, IndexError, csv.Error):
        raise DataError(f"{revision.title}: {PREDICTIONS} is not a table of predictions; {revision.way}") from None


def check_same_images(one: Predictions, name: str, other: Predictions, other_name: str, why: str = "") -> None:
    """Check that both have the same test images; `why` says, in brackets, why they may not.

    Raises:
        DataError: the images or their labels differ, or there is only one.
    """
    if len(one.ids) < 2:
        raise DataError(f"{name} was scored on only one test image; prepare more test images")
    if len(one.ids) != len(other.ids):
        raise DataError(
            f"not comparable: {name} was scored on {len(one.ids):,} test images, "
            f"{other_name} on {len(other.ids):,}{why}; compare runs on the same data"
        )
    for place, (first, second) in enumerate(zip(one.ids, other.ids, strict=True)):
        if first != second or one.labels[place] != other.labels[place]:
            raise DataError(
                f"not comparable: the test sets differ{why}, image {place + 1:,} is {printable(first)}, a "
                f"{printable(one.labels[place])}, in {name}, and {printable(second)}, a "
                f"{printable(other.labels[place])}, in {other_name}; compare runs on the same data"
            )


def _made_by(revision: Revision) -> tuple[Stage, Entry]:
    for stage in revision.stages:
        for out in stage.outs:
            if out.path == PREDICTIONS:
                return stage, out
    raise DataError(f"{revision.title} has no {PREDICTIONS}: evaluate did not run; {revision.way}")


def _changed_since(stage: Stage, made: dict[Path, tuple[Stage, Entry]]) -> Path | None:
    """A dep of the stage, or of one before it, that has changed since: the last run ended half-way."""
    for dep in stage.deps:
        if dep.path in made:
            maker, out = made[dep.path]
            if out.md5 != dep.md5:
                return dep.path
            before = _changed_since(maker, made)
            if before:
                return before
    return None


def _bytes(revision: Revision, entry: Entry) -> bytes:
    stored = Cache(Hashes()).object(entry.md5)
    for path in (stored, PREDICTIONS):
        if path.is_file():
            content = path.read_bytes()
            if hashlib.md5(content).hexdigest() == entry.md5:
                return content
    bring, first = _command(revision), "" if has_remote() else revision.first
    if stored.is_file():
        raise DataError(f"{revision.title}: {stored} is damaged; {first}run rm -f {words([stored])} && {bring}")
    raise DataError(f"{revision.title}: its {PREDICTIONS} is not in DVC's cache; {first}run {bring}")


def _command(revision: Revision) -> str:
    if not has_remote():
        return revision.again
    # `dvc exp apply` exits with an error if objects are missing, but has changed the workspace by then.
    return FETCH.get(revision.kind, f"dvc exp apply {words([revision.name])}; dvc pull {PREDICTIONS}")


def _parse(text: str, md5: str) -> Predictions:
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    if header[: len(COLUMNS)] != COLUMNS or not rows:
        raise ValueError(header)
    # A class may have any name: find its column by place. With many classes there is only the label's column.
    column = {name.removeprefix("p_"): place for place, name in enumerate(header) if place >= len(COLUMNS)}
    own = header.index("label_probability") if "label_probability" in header else None
    ids, paths, labels, answers, confidences = zip(*(row[: len(COLUMNS)] for row in rows), strict=True)
    return Predictions(
        md5,
        list(ids),
        list(paths),
        np.array(labels, dtype=object),
        np.array(answers, dtype=object),
        np.array(confidences, dtype=float),
        np.array([float(row[column[row[2]] if own is None else own]) for row in rows]),
    )


CODE = "the code"
# Params that can change the test split.
OF_THE_TEST = (
    "data.name",
    "data.path",
    "data.also",
    "data.group",
    "prepare.test_fraction",
    "prepare.seed",
    "prepare.window",
)


def differing_params(new: Revision, base: Revision) -> dict[str, list[Any]]:
    """The params in which the two differ: [new, base]."""
    ours, theirs = (_params(side) for side in (new, base))
    return {key: [ours.get(key), theirs.get(key)] for key in sorted(ours | theirs) if ours.get(key) != theirs.get(key)}


def differences(new: Revision, base: Revision) -> list[str]:
    """Files and params that differ, in words."""
    return _changed_files(new, base) + _in_words(differing_params(new, base))


def reasons_for_other_images(new: Revision, base: Revision) -> str:
    """Possible reasons for different test images, in brackets; empty if none is known."""
    params = {key: values for key, values in differing_params(new, base).items() if key in OF_THE_TEST}
    reasons = [words for words in _changed_files(new, base) if words != CODE] + _in_words(params)
    return f" ({', '.join(reasons)})" if reasons else ""


def check_same_data(new: Revision, base: Revision) -> None:
    """Check that both runs are on the same data set, before their predictions are looked for.

    Raises:
        DataError: they are on different data sets.
    """
    ours, theirs = (_params(side).get("data.name") for side in (new, base))
    if ours and theirs and ours != theirs:
        there = base if base.commit else new
        raise DataError(
            f"not comparable: data.name is {printable(ours)} in {new.title} and {printable(theirs)} in {base.title}, "
            "so their test images differ; compare runs on the same data; "
            f"to go back to {printable(there.name)}, {there.way}"
        )


def _params(side: Revision) -> dict[str, Any]:
    return flat({key: value for stage in side.stages for key, value in stage.params.items()})


def _in_words(params: dict[str, list[Any]]) -> list[str]:
    return [f"{key} {printable(ours)} (was {printable(theirs)})" for key, (ours, theirs) in params.items()]


def _changed_files(new: Revision, base: Revision) -> list[str]:
    """Files that differ between the two; all code counts as one."""
    sides = []
    for side in (new, base):
        made = {out.path for stage in side.stages for out in stage.outs}
        sides.append({dep.path: dep.md5 for stage in side.stages for dep in stage.deps if dep.path not in made})
    ours, theirs = sides
    changed = [path for path in sorted(ours) if theirs.get(path, ours[path]) != ours[path]]
    files = [f"the contents of {printable(path)}" for path in changed if path.parts[0] not in CODE_FOLDERS]
    return files + [CODE] * (len(files) < len(changed))


def changed_since(revision: Revision) -> str:
    """The first edit since the run that made the predictions; empty if there is none."""
    if revision.kind != WORKSPACE:
        return ""
    defined, params, hashes = read_pipeline(), read_params().model_dump(), Hashes()
    made = {str(out.path): out for stage in revision.stages for out in stage.outs}
    for stage in revision.stages:  # in the order of dvc.yaml
        reason = next(changes(stage, defined.get(stage.name), params, made, hashes), "")
        if reason or any(out.path == PREDICTIONS for out in stage.outs):
            return reason
    return ""
