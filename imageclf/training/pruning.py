"""A search ends a run early: after an epoch of the run's own schedule, where others did better at the same point."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from imageclf.runtime.errors import Pruned
from imageclf.runtime.files import write_json
from imageclf.runtime.platform import is_first_rank

NEEDED = "NEEDED_BY_EPOCH"  # environment variable of a search: validation top-1 by epoch, as JSON
RECORD = "RECORD_IF_PRUNED"  # environment variable of a search: the file for the validation top-1 of each epoch


def environment(needed: dict[int, float], record: Path) -> dict[str, str]:
    """What a run that is to reach `needed`, validation top-1 (a fraction) by epoch, is started with."""
    return {NEEDED: json.dumps(needed), RECORD: str(record.absolute())}


def prune(top1: Sequence[float], epochs: int) -> None:
    """End the run if its validation top-1 after the last of its epochs so far is below what the search needs there.

    Raises:
        Pruned: it is. The search finds `top1`, a fraction by epoch, in the record.
    """
    if NEEDED not in os.environ or not top1:
        return
    needed = json.loads(os.environ[NEEDED]).get(str(len(top1)), 0.0)
    if top1[-1] >= needed:
        return
    if is_first_rank():
        write_json(Path(os.environ[RECORD]), list(top1))
    raise Pruned(
        f"train: pruned after epoch {len(top1)}/{epochs} at {100 * top1[-1]:.2f} %, below {100 * needed:.2f} %"
    )
