"""Checkpoints of a run, which a fingerprint of all that shapes its result keeps apart from others."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import Timeout
from safetensors.torch import load, save
from torch import Tensor

import imageclf
from imageclf import CODE_FOLDERS
from imageclf.runtime.errors import Busy
from imageclf.runtime.files import sha256_of_file, write_bytes
from imageclf.runtime.platform import locked
from imageclf.training.ranks import ALONE, Ranks


def fingerprint(facts: dict[str, Any]) -> str:
    """Hex sha256 of `facts` (params, data, versions, precision) and of every file of ours that training may use."""
    library = Path(imageclf.__file__).parent
    files = {Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    files |= set((library / "models").rglob("*.py"))  # of which some are imported when a network first needs them
    ours = {file for file in files for folder in CODE_FOLDERS if file.is_relative_to(library.parent / folder)}
    code = {str(file.relative_to(library.parent)): sha256_of_file(file) for file in ours}
    return hashlib.sha256(json.dumps({"facts": facts, "code": code}, sort_keys=True).encode()).hexdigest()


CHECKPOINTS = Path(".checkpoints")
KEPT = 2
PATIENCE = 10.0  # seconds; the orphan of a killed dvc needs a moment to end


@dataclass(frozen=True)
class Checkpoint:
    """Where a run stood after `step` steps: tensors by name, and facts that JSON can hold."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


@contextmanager
def held_checkpoints(folder: Path, ranks: Ranks = ALONE) -> Iterator["Checkpoints"]:
    """A run's checkpoints, for this run alone; removed when the block ends well, kept for a next try when not.

    Raises:
        Busy: another run has been holding them for longer than an orphan would.
    """
    if not ranks.first:
        yield Checkpoints(folder, ranks)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    holder, file = folder / "process", folder.with_name(f"{folder.name}.lock")
    with ExitStack() as held:
        try:
            held.enter_context(locked(file, patience=PATIENCE))
        except Timeout:
            raise Busy(
                f"train: another run (process {holder.read_text() if holder.exists() else 'unknown'}) is already "
                "training this configuration; wait for it, or end it and run again"
            ) from None
        folder.mkdir(parents=True, exist_ok=True)
        holder.write_text(f"{os.getpid()}")
        yield Checkpoints(folder, ranks)
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # Windows removes no file that is open; one that waits for it tries again
            file.unlink()


class Checkpoints:
    """Writes and reads the checkpoints in a folder: the first rank does, and tells the others what it has read."""

    def __init__(self, folder: Path, ranks: Ranks = ALONE) -> None:
        self._folder, self._ranks = folder, ranks

    def save(self, checkpoint: Checkpoint) -> None:
        """Add one and forget all but the newest two."""
        if not self._ranks.first:
            return
        facts = json.dumps({"step": checkpoint.step, "facts": checkpoint.facts})
        content = save({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}, {"facts": facts})
        path = self._folder / f"step-{checkpoint.step:09d}.safetensors"
        write_bytes(path, content + hashlib.sha256(content).digest())
        self.forget(all_but=KEPT)

    def forget(self, *, all_but: int = 0) -> None:
        """Remove them, but for the newest ones."""
        for old in self._paths()[all_but:]:
            old.unlink()

    def newest(self) -> Checkpoint | None:
        """The newest whole one; a damaged one is named and passed over."""
        content = self._ranks.from_first(self._newest() if self._ranks.first else b"")
        if not content:
            return None
        length = int.from_bytes(content[:8], "little")
        facts = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["facts"])
        return Checkpoint(facts["step"], load(content), facts["facts"])

    def _newest(self) -> bytes:
        for path in self._paths():
            content = path.read_bytes()
            content, digest = content[:-32], content[-32:]
            if hashlib.sha256(content).digest() == digest:
                return content
            print(f"train: {path.name} is damaged; the checkpoint before it is used", flush=True)
        return b""

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("step-*.safetensors"), reverse=True)
