"""One bit flipped or some bytes cut off, anywhere in what passes between the stages: found before it is used."""

import json
from pathlib import Path
from random import Random

from tests.conftest import Project
from tests.proof.artefacts import remove
from tests.proof.forked import run_forked
from tests.proof.ground import Ground
from tests.proof.processes import Run
from tests.proof.table import Tally

# folder -> who reads it next, and its arguments
READERS: dict[str, tuple[str, ...]] = {
    "data/raw": ("stages.prepare",),
    "data/prepared": ("stages.train",),
    "models/classifier": ("stages.evaluate",),
    "models/export": ("tools.predict", "metrics/preview.png"),
}
FOUND = 3  # exit code of a DataError


def prove_artefacts(ground: Ground, count: int, real: int, tally: Tally) -> None:
    """Damage files and let the next stage read them: `count` times forked, and `real` times as a person starts it."""
    project, draws = ground.copy(ground.finished, "corruption"), ground.draws("artefacts")
    for turn in range(count + real):
        folder = list(READERS)[turn % len(READERS)]
        path = draws.choice(sorted(file for file in (project.folder / folder).rglob("*") if file.is_file()))
        whole = path.read_bytes()
        words = corrupt(path, draws)
        fault = _fault_of(project, folder, forked=turn < count)
        name = path.relative_to(project.folder)
        tally.count(f"{name} {words}: {fault}" if fault else None, folder=project.folder)
        tally.seen[words.split()[0]] += 1
        path.write_bytes(whole)


def prove_cache(ground: Ground, count: int, tally: Tally) -> None:
    """Damage objects in DVC's cache, which it trusts when they are read-only; check out, and run the next stage."""
    draws = ground.draws("cache")
    for turn in range(count):
        project = ground.copy(ground.finished, f"cache-{turn}")
        folder = draws.choice(list(READERS))
        path = _cached_object(project.folder, folder, draws)
        remove(project.folder, READERS)
        path.chmod(0o644)
        words = corrupt(path, draws)
        path.chmod(0o444)
        checkout_code, _ = _real(project, "dvc", "checkout")
        fault = None if checkout_code else _fault_of(project, folder, forked=False)
        tally.seen["by the stage" if checkout_code == 0 else "by DVC"] += 1
        tally.count(f"a cached file of {folder} {words}: {fault}" if fault else None, folder=project.folder)


def corrupt(path: Path, draws: Random) -> str:
    """Flip a bit of a file, or cut off its end; what was done, in words."""
    content = bytearray(path.read_bytes())
    at = draws.randrange(len(content))
    if draws.random() < 0.5:
        path.write_bytes(content[:at])
        return f"cut to {at} of {len(content)} bytes"
    bit = draws.randrange(8)
    content[at] ^= 1 << bit
    path.write_bytes(content)
    return f"flipped in bit {bit} of byte {at}"


def verdict(code: int, text: str) -> str | None:
    """What is wrong with how a stage took damaged input: it should end with its code and one sentence."""
    if code == 0:
        return "not found"
    lines = text.strip().splitlines()
    if "Traceback" in text or len(lines) != 1:
        return f"not one sentence: {text[-500:]}"
    return None if code == FOUND else f"exit code {code}, not {FOUND}: {lines[-1]}"


def _fault_of(project: Project, folder: str, *, forked: bool) -> str | None:
    module, *arguments = READERS[folder]
    if forked:
        return verdict(*run_forked(module, project.folder, project.folder.with_name("log"), *arguments))
    return verdict(*_real(project, "python", "-m", module, *arguments))


def _real(project: Project, *command: str) -> tuple[int, str]:
    with Run(project, command, project.folder.with_name("log")) as run:
        code = run.ended()
        assert code is not None, f"{' '.join(command)} does not end"
        return code, run.text


def _cached_object(root: Path, folder: str, draws: Random) -> Path:
    """A random file of an out, where it lies in the cache."""
    cache = root / ".dvc/cache/files/md5"
    names = {path.name for path in (root / folder).rglob("*") if path.is_file()}
    for listing in sorted(cache.glob("*/*.dir")):
        entries = json.loads(listing.read_text())
        if {Path(entry["relpath"]).name for entry in entries} == names:
            digest = draws.choice(entries)["md5"]
            return cache / digest[:2] / digest[2:]
    raise AssertionError(f"{folder} is not in the cache")
