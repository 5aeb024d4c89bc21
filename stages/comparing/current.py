"""Whether the workspace's predictions are of what the workspace has now."""

from stages.comparing.predictions import PREDICTIONS
from stages.comparing.revisions import WORKSPACE, Revision
from stages.params.read import read_params
from stages.verifying.hashes import Hashes
from stages.verifying.inputs import changes
from stages.verifying.lock import read_pipeline


def changed_since(revision: Revision) -> str:
    """The first thing that was edited after the run that made the predictions; empty where there is none."""
    if revision.kind != WORKSPACE:
        return ""
    defined, params, hashes = read_pipeline(), read_params().model_dump(), Hashes()
    made = {str(out.path): out for stage in revision.stages for out in stage.outs}
    for stage in revision.stages:  # in the order of dvc.yaml
        reason = next(changes(stage, defined.get(stage.name), params, made, hashes), "")
        if reason or any(out.path == PREDICTIONS for out in stage.outs):
            return reason
    return ""
