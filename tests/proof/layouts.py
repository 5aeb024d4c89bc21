"""The layout matrix: how many processes, workers and cores train must not show in a single bit of what is trained."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from tests.conftest import Project
from tests.proof.artefacts import Fingerprint, difference, fingerprint, outs_of, remove
from tests.proof.ground import Ground, finish, set_params
from tests.proof.table import Tally


@dataclass(frozen=True)
class Layout:
    """By whom it is trained."""

    workers: int  # of each process
    cores: int
    processes: int = 1


LAYOUTS = (*(Layout(workers, cores) for workers, cores in product((1, 2, 4), (1, 2))), Layout(1, 2, processes=2))
NARROW = {"val_fraction": 0.9, "batch_size": 64, "epochs": 1}  # 200 images, 3 steps: for large networks


def prove_layouts(
    ground: Ground, models: Sequence[str], precisions: Sequence[str], layouts: Sequence[Layout], tally: Tally
) -> None:
    """Train each model in each precision with each layout; all layouts must give what the first gave."""
    for model in models:
        project = ground.copy(ground.prepared, f"layouts-{model}")
        set_params(project, model=model, epochs=2)
        if model != "cifarnet":
            set_params(project, **NARROW)
            finish(project, "python", "-m", "stages.prepare")
        for precision in precisions:
            set_params(project, precision=precision)
            first: Fingerprint = {}
            for layout in layouts:
                found = _train(project, layout)
                first = first or found
                fault = difference(first, found)
                tally.count(f"{model}, {precision}, {layout}: {fault}" if fault else None, folder=project.folder)
            tally.seen["hashes"] += 1


def _train(project: Project, layout: Layout) -> Fingerprint:
    paths = outs_of(project.folder, "train")
    remove(project.folder, paths)
    set_params(project, workers=layout.workers, processes=layout.processes)
    finish(project, "python", "-m", "stages.train", cores=set(sorted(os.sched_getaffinity(0))[: layout.cores]))
    return fingerprint(project.folder, paths)
