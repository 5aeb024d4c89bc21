"""Why a run of a sweep came to nothing, from its log, and whether the same line again can help."""

import re
import signal
from dataclasses import dataclass
from pathlib import Path

from stages.console.errors import Busy, DataError, Diverged, MachineError, ParamsError, SourceError
from stages.console.text import printable

STAGE = re.compile(r"^ERROR: failed to reproduce '.*': failed to run: .* exited with (-?\d+)$", re.MULTILINE)
DVC = re.compile(r"^ERROR: (.*)$", re.MULTILINE)
KILLED = 128 + signal.SIGKILL
KINDS = {
    ParamsError.exit_code: "refused by params.yaml",
    DataError.exit_code: "data",
    SourceError.exit_code: "no source",
    MachineError.exit_code: "machine",
    Diverged.exit_code: "diverged",
    Busy.exit_code: "busy",
    128 + signal.SIGINT: "stopped",
    128 + signal.SIGTERM: "stopped",
    KILLED: "killed",
}
ADVICE = {  # by kind: what the same line again is worth
    "stopped": "the same line again goes on with {}",
    "killed": "the same line again goes on with {}",
    "busy": "the same line again runs {}",
    "no source": "the same line again runs {}",
    "diverged": "{} would diverge again, leave it out",
    "refused by params.yaml": "{} would be refused again, leave it out",
}
OTHERWISE = "the same line again runs {} once the cause is mended"


@dataclass(frozen=True)
class Failure:
    """One word or two for a table, and what the run said last."""

    kind: str
    sentence: str


def read_failure(log: Path) -> Failure:
    """Why the run with this log failed."""
    text = log.read_text(errors="replace")
    ended = STAGE.search(text)
    if not ended:
        # DVC itself: a file that is missing, a workspace that it could not make.
        reasons = DVC.findall(text) or [line for line in text.splitlines() if line.strip()][-1:]
        return Failure("refused by dvc", printable((reasons or [f"{log} is empty"])[0]))
    # bash becomes the stage, and ends by its signal, -9; dash waits for it, and ends with 128 more.
    code = int(ended[1]) if int(ended[1]) >= 0 else 128 - int(ended[1])
    said = [line for line in text[: ended.start()].splitlines() if line.strip()]
    sentence = "its stage was killed by signal 9" if code == KILLED else (said or [ended[0]])[-1]
    return Failure(KINDS.get(code, "failed"), printable(sentence))


def advice(failures: dict[str, Failure]) -> str:
    """What to do about the failures of some runs, by what they are called."""
    groups: dict[str, list[str]] = {}
    for name, failure in failures.items():
        groups.setdefault(ADVICE.get(failure.kind, OTHERWISE), []).append(name)
    return "; ".join(words.format(_counted(names)) for words, names in groups.items())


def _counted(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{' and '.join(f'({name})' for name in names[:3])}{more}"
