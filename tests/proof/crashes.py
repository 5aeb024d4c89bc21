"""A crash at every write, fsync and rename of a stage, with what was not synced lost in three ways; then recovery."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.proof.artefacts import Fingerprint, damaged, difference, fingerprint, outs_of, remove
from tests.proof.disk import CRASHED, DAMAGES, Disk
from tests.proof.forked import run_forked
from tests.proof.ground import Ground, set_params
from tests.proof.table import Tally


@dataclass(frozen=True)
class Writer:
    """A module that is run in a folder, and what it leaves there when nothing disturbs it."""

    module: str
    folder: Path
    paths: list[str]
    reference: Fingerprint

    def run(self, disk: Disk | None = None) -> tuple[int, str]:
        """Its exit code and what it printed."""
        return _run(self.module, self.folder, disk or Disk(self.folder))


def prove_crashes(ground: Ground, stages: Sequence[str], over_outs: Sequence[bool], tally: Tally) -> None:
    """Each stage is crashed at its first point, its second, and so on until it gets through."""
    project = ground.copy(ground.finished, "crashes")
    set_params(project, epochs=1)  # the points are the same
    for stage in stages:
        module, paths = f"stages.{stage}", outs_of(project.folder, stage)
        _run(module, project.folder, Disk(project.folder))
        writer = Writer(module, project.folder, paths, fingerprint(project.folder, paths))
        for damage in DAMAGES:
            for over in over_outs:
                crash_everywhere(writer, damage, tally, removed=not over)


def crash_everywhere(writer: Writer, damage: str, tally: Tally, *, removed: bool) -> None:
    """`removed`: without the outs of the run before, as under DVC; else over them, as by hand."""
    for point in count():
        if removed:
            remove(writer.folder, writer.paths)
        code, text = writer.run(Disk(writer.folder, point, damage))
        if code == 0:
            assert point > 1, f"{writer.module} wrote nothing that the disk saw"
            break
        fault = None if code == CRASHED else f"exit code {code}"
        fault = fault or damaged(writer.folder, writer.paths, writer.reference) or _recover(writer)
        where = f"{writer.module}, {damage} left, {text.strip().splitlines()[-1:]}"
        tally.count(f"{where}: {fault}" if fault else None, folder=writer.folder)
        tally.seen[writer.module.rpartition(".")[2]] += 1


def _recover(writer: Writer) -> str | None:
    """Run it plainly; what is still wrong then."""
    code, text = writer.run()
    if code:
        return f"the next run exited with {code}: {text[-500:]}"
    return difference(writer.reference, fingerprint(writer.folder, writer.paths))


def _run(module: str, folder: Path, disk: Disk) -> tuple[int, str]:
    return run_forked(module, folder, folder.with_name("log"), before=disk.install)
