"""What .dvcignore hides from DVC, and so from the pipeline: DVC neither watches it nor keeps it."""

import os
from collections.abc import Callable
from pathlib import Path

Keep = Callable[[str, list[str], list[str]], tuple[list[str], list[str]]]


def dvc_filter(folder: Path) -> Keep:
    """DVC's own choice, for a folder at or below `folder`, of its folders and files; both outside a repository."""
    here = Path.cwd()
    repository = next((place for place in (here, *here.parents) if (place / ".dvc").is_dir()), None)
    if repository is None or not Path(os.path.abspath(folder)).is_relative_to(repository):  # noqa: PTH100 - as DVC
        return lambda _, folders, files: (folders, files)
    from dvc.fs import localfs  # here, as it takes half a second that only own images need
    from dvc.ignore import DvcIgnoreFilter

    keep: Keep = DvcIgnoreFilter(localfs, str(repository))
    return keep
