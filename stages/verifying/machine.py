"""The machine that a classifier was made on, and this one: what decides the last bits of every sum."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.machine.processor import instruction_set


@dataclass(frozen=True)
class Machine:
    """The two things that other bits come from."""

    torch: str  # version
    processor: str  # the instruction set in use, or the name of a GPU

    def __str__(self) -> str:
        return f"torch {self.torch} on {self.processor}"


def made_on(facts: dict[str, Any]) -> Machine:
    """The machine that card.json names, or metrics/train.json."""
    made_with = facts.get("made_with", {})
    return Machine(made_with.get("torch", "?"), made_with.get("processor", "?"))


def this_machine(like: Machine) -> Machine:
    """What this machine is; of its processors the one that `like` names, if it is here."""
    here = Machine(_torch_version(), instruction_set())
    return here if here == like else _asked_of_torch(like)


def _torch_version() -> str:
    """What torch.__version__ is, without the two seconds that importing torch takes; the package's own lacks +cu130."""
    found = importlib.util.find_spec("torch")
    text = Path(str(found.origin)).with_name("version.py").read_text() if found else ""
    version = re.search(r"^__version__ = '([^']+)'", text, re.MULTILINE)
    return version[1] if version else ""


def _asked_of_torch(like: Machine) -> Machine:
    import torch

    processors = [instruction_set()]
    if torch.cuda.is_available():
        processors += [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    processor = like.processor if like.processor in processors else processors[0]
    return Machine(torch.__version__, processor)
