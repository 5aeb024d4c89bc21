"""What a run leaves, as hashes to compare: every file of every out, and dvc.lock."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import yaml

from imageclf.runtime.errors import DataError
from imageclf.runtime.files import check_sums, sha256_of_file

LOCK = "dvc.lock"
Fingerprint = dict[str, str]  # path below the project -> sha256


def outs_of(folder: Path, *stages: str) -> list[str]:
    """The paths that these stages of dvc.yaml write; all stages, where none is named."""
    pipeline = yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return [
        next(iter(out)) if isinstance(out, dict) else out
        for stage in stages or pipeline
        for out in pipeline[stage].get("outs", []) + pipeline[stage].get("metrics", [])
    ]


def fingerprint(folder: Path, paths: Iterable[str]) -> Fingerprint:
    """The hash of every file at or below these paths, hidden ones too."""
    found = [folder / path for path in paths]
    files = [file for path in found for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    return {file.relative_to(folder).as_posix(): sha256_of_file(file) for file in sorted(files)}


def difference(expected: Fingerprint, found: Fingerprint) -> str | None:
    """The first file that is not as expected, in words."""
    for name in sorted(expected | found):
        if name not in found:
            return f"{name} is missing"
        if name not in expected:
            return f"{name} should not be there"
        if expected[name] != found[name]:
            return f"{name} differs: sha256 {found[name][:8]}, not {expected[name][:8]}"
    return None


def damaged(folder: Path, paths: Iterable[str], reference: Fingerprint) -> str | None:
    """The first out that stands under its final name with other bytes, and that no reader would refuse."""
    for path in paths:
        found = fingerprint(folder, [path])
        whole = {name: digest for name, digest in reference.items() if f"{name}/".startswith(f"{path}/")}
        if found and found != whole and not _refused(folder / path):
            return f"under its final name {difference(whole, found)}"
    return None


def remove(folder: Path, paths: Iterable[str]) -> None:
    """Take these outs away, as DVC does before it runs a stage."""
    for path in paths:
        shutil.rmtree(folder / path, ignore_errors=True) if (folder / path).is_dir() else (folder / path).unlink(True)


def _refused(path: Path) -> bool:
    """Whether who reads this folder will see that it is damaged; of a single file nobody would."""
    try:
        check_sums(path)
    except DataError:
        return path.is_dir()
    return False
