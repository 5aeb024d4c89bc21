"""What came of a sweep's runs: the results of the experiments, and why others have none."""

import csv
import re
import signal
from dataclasses import dataclass
from pathlib import Path

from imageclf.images.dataset import NOTHING_TO_RANK
from imageclf.runtime.errors import (
    Busy,
    DataError,
    Diverged,
    MachineError,
    ParamsError,
    Pruned,
    SourceError,
    printable,
)
from imageclf.runtime.platform import SIGKILL
from tools.comparing.revisions import experiments
from tools.repository import git, head, metrics_at


@dataclass(frozen=True)
class Finished:
    """A run's validation top-1 (a fraction), and that after each epoch."""

    top1: float
    by_epoch: list[float]


def commits_by_name() -> dict[str, str]:
    """The commits of this commit's experiments."""
    here = head()
    return {found.name: found.commit for found in experiments() if found.baseline == here}


class Experiments:
    """The results of this commit's experiments."""

    def __init__(self) -> None:
        self.baseline = head()
        self._commits = commits_by_name()
        self._results: dict[str, Finished] = {}

    def look_again(self) -> None:
        """Find those that were added."""
        self._commits = commits_by_name()

    def result(self, name: str) -> Finished | None:
        """Of the experiment with this name; None if there is no such experiment.

        Raises:
            DataError: it was not validated.
        """
        if name not in self._commits:
            return None
        if name not in self._results:
            self._results[name] = _read(name, self._commits[name])
        return self._results[name]


def _read(name: str, commit: str) -> Finished:
    metrics = metrics_at(commit, "train")
    if "val" not in metrics:
        raise DataError(f"{name} has no validation top-1: {NOTHING_TO_RANK}")
    rows = csv.DictReader((git("show", f"{commit}:./metrics/history.csv") or "").splitlines())
    return Finished(float(metrics["val"]["top1"]), [float(row["val_top1"]) for row in rows])


STAGE = re.compile(r"^ERROR: failed to reproduce '.*': failed to run: .* exited with (-?\d+)$", re.MULTILINE)
DVC = re.compile(r"^ERROR: (.*)$", re.MULTILINE)
KILLED = 128 + SIGKILL
PRUNED = "pruned"
KINDS = {
    ParamsError.exit_code: "refused by params.yaml",
    DataError.exit_code: "data",
    SourceError.exit_code: "no source",
    MachineError.exit_code: "machine",
    Diverged.exit_code: "diverged",
    Busy.exit_code: "busy",
    Pruned.exit_code: PRUNED,
    128 + signal.SIGINT: "stopped",
    128 + signal.SIGTERM: "stopped",
    KILLED: "killed",
}
ADVICE = {  # by kind of failure
    "stopped": "run the same line again to continue {}",
    "killed": "run the same line again to continue {}",
    "busy": "run the same line again to run {}",
    "no source": "run the same line again to run {}",
    "diverged": "leave out {}: it would diverge again",
    "refused by params.yaml": "leave out {}: it would be refused again",
}
OTHERWISE = "fix what stopped {}, then run the same line again"


@dataclass(frozen=True)
class Failure:
    """The kind of failure, for a table, and the run's error message."""

    kind: str
    sentence: str

    @property
    def reason(self) -> str:
        """The kind, and of a pruned run also when and why."""
        return self.sentence.removeprefix("train: ") if self.kind == PRUNED else self.kind


def read_failure(log: Path) -> Failure:
    """Why the run with this log failed."""
    text = log.read_text(errors="replace")
    ended = STAGE.search(text)
    if not ended:
        # DVC itself failed: a file is missing, or a workspace could not be made.
        reasons = DVC.findall(text) or [line for line in text.splitlines() if line.strip()][-1:]
        return Failure("refused by dvc", printable((reasons or [f"{log} is empty"])[0]))
    # bash execs the stage and reports its signal as -9; dash waits for it and reports 128 + 9.
    code = int(ended[1]) if int(ended[1]) >= 0 else 128 - int(ended[1])
    said = [line for line in text[: ended.start()].splitlines() if line.strip()]
    sentence = "its stage was killed by signal 9" if code == KILLED else (said or [ended[0]])[-1]
    return Failure(KINDS.get(code, "failed"), printable(sentence))


def advice(failures: dict[str, Failure]) -> str:
    """What to do about failed runs, by their names."""
    groups: dict[str, list[str]] = {}
    for name, failure in failures.items():
        groups.setdefault(ADVICE.get(failure.kind, OTHERWISE), []).append(name)
    return "; ".join(words.format(_counted(names)) for words, names in groups.items())


def _counted(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    # Brackets around names with commas.
    return " and ".join(f"({name})" if ", " in name else name for name in names[:3]) + more
