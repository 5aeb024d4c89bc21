"""A crash at every write, fsync and rename of a stage, with what was not synced lost in three ways; then recovery."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path

from tests.conftest import Project
from tests.proof.artefacts import Fingerprint, damaged, difference, fingerprint, outs_of, remove
from tests.proof.disk import CRASHED, DAMAGES, Disk
from tests.proof.forked import run_forked
from tests.proof.ground import Ground, set_params
from tests.proof.table import Tally


def prove_crashes(ground: Ground, stages: Sequence[str], tally: Tally) -> None:
    """Each stage is crashed at its first point, its second, and so on until it gets through."""
    project = ground.copy(ground.finished, "crashes")
    set_params(project, epochs=1)  # the points are the same
    for stage in stages:
        _run(project, stage)
        reference = fingerprint(project.folder, outs_of(project.folder, stage))
        for damage in DAMAGES:
            for removed in (True, False):
                crash_everywhere(project, stage, damage, reference, tally, removed=removed)


def crash_everywhere(
    project: Project, stage: str, damage: str, reference: Fingerprint, tally: Tally, *, removed: bool
) -> None:
    """`removed`: without the outs of the run before, as under DVC; else over them, as by hand."""
    paths = outs_of(project.folder, stage)
    for point in count():
        if removed:
            remove(project.folder, paths)
        code, text = _run(project, stage, Disk(project.folder, point, damage))
        if code == 0:
            assert point > 3, f"{stage} wrote nothing that the disk saw"
            break
        where = text.splitlines()[-1] if text else "silent"
        fault = None if code == CRASHED else f"exit code {code}"
        fault = fault or damaged(project.folder, paths, reference) or _recover(project, stage, paths, reference)
        tally.seen[stage] += 1
        tally.count(f"{stage}, {damage} left, {where}: {fault}" if fault else None, folder=project.folder)


def _recover(project: Project, stage: str, paths: list[str], reference: Fingerprint) -> str | None:
    code, text = _run(project, stage)
    if code:
        return f"the next run exited with {code}: {text[-500:]}"
    return difference(reference, fingerprint(project.folder, paths)) or _litter(project.folder, paths)


def _litter(folder: Path, paths: list[str]) -> str | None:
    """A temporary that would be taken for a part of an out."""
    inside = [file for path in paths if (folder / path).is_dir() for file in (folder / path).rglob(".*")]
    return f"{inside[0].name} lies in an out" if inside else None


def _run(project: Project, stage: str, disk: Disk | None = None) -> tuple[int, str]:
    before = (disk or Disk(project.folder)).install
    return run_forked(f"stages.{stage}", project.folder, project.folder.with_name("log"), before=before)
