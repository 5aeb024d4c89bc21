"""Check that the outputs belong together, and which machine made the committed ones."""

import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imageclf.models.card import CLASSIFIER
from imageclf.models.device import processor_kind
from imageclf.runtime.yaml import flat
from tools.repository import LOCK, Damaged, Stage, committed, parse_lock
from tools.verifying.outputs import Finding


@dataclass(frozen=True)
class Machine:
    """The two properties of a machine that change the last bits of a result."""

    torch: str  # version
    processor: str  # the instruction set in use, or the name of a GPU

    def __str__(self) -> str:
        return f"torch {self.torch} on {self.processor}"


def made_on(facts: dict[str, Any]) -> Machine:
    """The machine in card.json or metrics/train.json."""
    made_with = facts.get("made_with", {})
    return Machine(made_with.get("torch", "?"), made_with.get("processor", "?"))


def this_machine(like: Machine) -> Machine:
    """The current machine; of its processors the one that `like` names, if it is here."""
    here = Machine(_torch_version(), processor_kind())
    return here if here == like else _asked_of_torch(like)


def _torch_version() -> str:
    """torch.__version__ without the two seconds of importing torch; the package's metadata lacks +cu130."""
    found = importlib.util.find_spec("torch")
    text = Path(str(found.origin)).with_name("version.py").read_text() if found else ""
    version = re.search(r"^__version__ = '([^']+)'", text, re.MULTILINE)
    return version[1] if version else ""


def _asked_of_torch(like: Machine) -> Machine:
    import torch

    processors = [processor_kind()]
    if torch.cuda.is_available():
        processors += [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    processor = like.processor if like.processor in processors else processors[0]
    return Machine(torch.__version__, processor)


CARD = CLASSIFIER / "card.json"
DATASET = Path("data/prepared/dataset.json")
TRAINING, METRICS = Path("metrics/train.json"), Path("metrics/evaluate.json")
# Different last bits act like another seed: on CIFAR-10 three seeds differed by 0.004 and 0.002.
TOLERANCE = {"top1": 0.01, "loss": 0.05}


@dataclass(frozen=True)
class Remake:
    """Outputs made here from the committed code, data and params, with other bytes."""

    differing: Path  # the first such output
    machine: Machine | None  # that made the committed ones, if known
    scores: dict[str, tuple[float, float]]  # by name: committed, here

    @property
    def within_tolerance(self) -> bool:
        return bool(self.scores) and all(
            abs(here - there) <= TOLERANCE[name] for name, (there, here) in self.scores.items()
        )


def card_findings(card: dict[str, Any], train: Stage) -> Iterator[Finding]:
    """Params or data in dvc.lock that the classifier was not trained with.

    DVC hashes params and data after a stage has run, so it records edits made meanwhile with the old result.
    """
    trained, recorded = flat(card["params"]), flat(train.params)
    for key in sorted(recorded):
        if key in trained and trained[key] != recorded[key]:
            what = f"dvc.lock has {key} {recorded[key]}, but the classifier was trained with {trained[key]}"
            yield Finding(what, "dvc repro -f train")
            return
    if DATASET.exists() and card["data_sha256"] != json.loads(DATASET.read_text())["sha256"]:
        yield Finding(f"{CLASSIFIER} was trained on other data than {DATASET.parent} has", "dvc repro -f train")


def read_facts(path: Path) -> dict[str, Any]:
    """A JSON file's content; empty if the file is missing."""
    return json.loads(path.read_text()) if path.exists() else {}


def remake(stages: list[Stage]) -> Remake | None:
    """The outputs that differ from the committed ones, if code, data and params are the same; else None."""
    try:
        at_head = parse_lock(committed(LOCK) or "")
    except Damaged:
        return None
    if _causes(stages) != _causes(at_head):
        return None
    before = {out.path: out.md5 for stage in at_head for out in stage.outs}
    differing = [out.path for stage in stages for out in stage.outs if before.get(out.path) != out.md5]
    return Remake(differing[0], _committed_machine(), _scores()) if differing else None


def _causes(stages: list[Stage]) -> dict[str, Any]:
    """All inputs of the stages: commands, params, and files that no stage makes."""
    made = {out.path for stage in stages for out in stage.outs}
    return {
        stage.name: (stage.cmd, stage.params, [dep for dep in stage.deps if dep.path not in made]) for stage in stages
    }


def _committed_machine() -> Machine | None:
    facts = json.loads(committed(TRAINING) or "{}")
    return made_on(facts) if "made_with" in facts else None


def _scores() -> dict[str, tuple[float, float]]:
    before, here = json.loads(committed(METRICS) or "{}"), read_facts(METRICS)
    return {name: (before[name], here[name]) for name in TOLERANCE if name in before and name in here}
