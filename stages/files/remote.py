"""Whether DVC's outputs can be pulled here, and so what brings a missing one."""

import configparser
from pathlib import Path

CONFIGS = (Path(".dvc/config"), Path(".dvc/config.local"))


def has_remote() -> bool:
    """Whether `dvc pull` has somewhere to pull from."""
    return setting("core", "remote") is not None


def brings(target: str = "") -> str:
    """The command for what a clone without data lacks; `target` is the stage to run where nothing can be pulled."""
    return "dvc pull" if has_remote() else f"dvc repro {target}".strip()


def setting(section: str, key: str) -> Path | None:
    """A setting of this project; a path in it counts from the file that it stands in."""
    found = None
    for path in CONFIGS:
        config = configparser.ConfigParser(interpolation=None)
        try:
            config.read(path)
        except configparser.Error:
            continue
        if config.has_option(section, key):
            found = path.parent / config.get(section, key).strip("\"'")
    return found
