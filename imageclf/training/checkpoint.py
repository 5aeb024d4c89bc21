"""Checkpoints of a run, which a fingerprint of all that shapes its result keeps apart from others."""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import Timeout
from safetensors.torch import load, save
from torch import Tensor

import imageclf
from imageclf import CODE_FOLDERS
from imageclf.runtime.errors import Busy, Pruned
from imageclf.runtime.files import sha256_of_file, write_bytes, write_json
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


@dataclass(frozen=True)
class Origin:
    """Where checkpoints are made, and a hash of all that shapes their run but the machine."""

    processor: str = ""
    run: str = ""


NOWHERE = Origin()
ORIGIN = "origin.json"


@contextmanager
def held_checkpoints(folder: Path, ranks: Ranks = ALONE, origin: Origin = NOWHERE) -> Iterator["Checkpoints"]:
    """A run's checkpoints, for this run alone; removed when the block ends well or is pruned, else kept for a next try.

    Raises:
        Busy: another run has been holding them for longer than an orphan would.
    """
    if not ranks.first:
        yield Checkpoints(folder, ranks, origin)
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
        write_json(folder / ORIGIN, asdict(origin))
        checkpoints = Checkpoints(folder, ranks, origin)
        pruned = None
        try:
            yield checkpoints
        except Pruned as reason:
            pruned = reason
        with suppress(OSError):  # one that could not be written is no loss any more
            checkpoints.wait()
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # Windows removes no file that is open; one that waits for it tries again
            file.unlink()
    if pruned:
        raise pruned


class Checkpoints:
    """Writes and reads the checkpoints in a folder: the first rank does, and tells the others what it has read."""

    def __init__(self, folder: Path, ranks: Ranks = ALONE, origin: Origin = NOWHERE) -> None:
        self._folder, self._ranks, self._origin = folder, ranks, origin
        self._thread, self._writing = ThreadPoolExecutor(1), Future[None]()
        self._writing.set_result(None)
        self.seconds = 0.0  # that the last one took

    def wait(self) -> None:
        """Wait until the last one is on disk.

        Raises:
            OSError: it cannot be written.
        """
        self._writing.result()

    def save(self, checkpoint: Checkpoint, *, wait: bool = True) -> None:
        """Add one and forget all but the newest two; a thread writes it if the caller does not `wait`.

        Raises:
            OSError: it, or the one before, cannot be written.
        """
        if not self._ranks.first:
            return
        self.wait()
        begun = time.monotonic()
        facts = json.dumps({"step": checkpoint.step, "facts": checkpoint.facts})
        content = save({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}, {"facts": facts})
        self._writing = self._thread.submit(self._write, checkpoint.step, content, begun)
        if wait:
            self.wait()

    def _write(self, step: int, content: bytes, begun: float) -> None:
        write_bytes(self._folder / f"step-{step:09d}.safetensors", content + hashlib.sha256(content).digest())
        self.forget(all_but=KEPT)
        self.seconds = time.monotonic() - begun

    def forget(self, *, all_but: int = 0) -> None:
        """Remove them, but for the newest ones."""
        for old in _paths(self._folder)[all_but:]:
            old.unlink()

    def newest(self, *, anywhere: bool = False) -> Checkpoint | None:
        """The newest whole one; a damaged one is named and passed over.

        Without one, a line tells of one that another kind of processor left, which is taken if `anywhere`.
        """
        content = self._ranks.from_first(self._found(anywhere=anywhere) if self._ranks.first else b"")
        return _read(content) if content else None

    def _found(self, *, anywhere: bool) -> bytes:
        if own := _newest(self._folder):
            return own
        for path in sorted(self._folder.parent.glob(f"*/{ORIGIN}")):
            try:
                origin = Origin(**json.loads(path.read_text()))
                same = bool(origin.run) and origin.run == self._origin.run
                content = _newest(path.parent) if same else b""
            except OSError:  # a run that has ended meanwhile
                continue
            if not content:
                continue
            where = f"train: {origin.processor} left a checkpoint of this run after step {_read(content).step:,}; "
            if anywhere:
                print(f"{where}this run goes on from it", flush=True)
                return content
            print(
                f"{where}this is {self._origin.processor}, so the run begins again "
                "(runtime.resume_anywhere: true goes on, to a result that neither makes alone)",
                flush=True,
            )
        return b""


def _newest(folder: Path) -> bytes:
    for path in _paths(folder):
        content = path.read_bytes()
        content, digest = content[:-32], content[-32:]
        if hashlib.sha256(content).digest() == digest:
            return content
        print(f"train: {path.name} is damaged; the checkpoint before it is used", flush=True)
    return b""


def _read(content: bytes) -> Checkpoint:
    length = int.from_bytes(content[:8], "little")
    facts = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["facts"])
    return Checkpoint(facts["step"], load(content), facts["facts"])


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.safetensors"), reverse=True)
