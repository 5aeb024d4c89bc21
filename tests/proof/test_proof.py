"""The proof can fail: each prover is shown something that does not keep the promise, and says so."""

import json
from pathlib import Path
from random import Random

import pytest

from imageclf.runtime.files import write_sums
from tests.conftest import Project
from tests.proof.artefacts import damaged, difference, fingerprint, outs_of, remove
from tests.proof.corruption import corrupt, verdict
from tests.proof.crashes import Writer, crash_everywhere
from tests.proof.disk import DAMAGES
from tests.proof.ground import set_params
from tests.proof.kills import Target, prove_target
from tests.proof.processes import Run, survivors
from tests.proof.table import Tally, draw

PIPELINE = "stages: {made: {cmd: x, outs: [out], metrics: [m.json: {cache: false}]}}"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder with one stage in its dvc.yaml, and no code."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(PIPELINE)
    return Project(folder, {"PATH": "/usr/bin:/bin"})


@pytest.fixture
def tally(tmp_path: Path) -> Tally:
    return Tally("row", "what was done", wanted=1, evidence=tmp_path / "kept")


def test_all_that_a_stage_writes_is_compared(project: Project) -> None:
    (project.folder / "out").mkdir()
    (project.folder / "out/.hidden").write_text("1")
    (project.folder / "m.json").write_text("{}")
    assert list(fingerprint(project.folder, outs_of(project.folder))) == ["m.json", "out/.hidden"]


def test_a_difference_is_named() -> None:
    assert difference({"a": "1"}, {"a": "1"}) is None
    assert difference({"a": "1", "b": "1"}, {"a": "1", "b": "2"}) == "b differs: sha256 2, not 1"
    assert difference({"a": "1"}, {}) == "a is missing"
    assert difference({}, {"a": "1"}) == "a should not be there"


def test_a_half_written_file_under_its_final_name_is_a_fault(project: Project) -> None:
    (project.folder / "m.json").write_text('{"whole": 1}')
    reference = fingerprint(project.folder, ["m.json"])
    assert damaged(project.folder, ["m.json"], reference) is None
    (project.folder / "m.json").write_text('{"wh')
    assert "m.json differs" in (damaged(project.folder, ["m.json"], reference) or "")
    remove(project.folder, ["m.json"])
    assert damaged(project.folder, ["m.json"], reference) is None


def test_a_damaged_folder_is_a_fault_unless_its_reader_refuses_it(project: Project) -> None:
    out = project.folder / "out"
    out.mkdir()
    (out / "a").write_text("1")
    write_sums(out)
    reference = fingerprint(project.folder, ["out"])
    (out / "a").write_text("2")
    assert damaged(project.folder, ["out"], reference) is None
    write_sums(out)
    assert "out/SHA256SUMS differs" in (damaged(project.folder, ["out"], reference) or "")


WRITERS = {
    "whole": "write_text(Path('m.json'), '[1, 2, 3]')",
    "in place": "Path('m.json').write_text('[1, 2, 3]')",
    "no fsync": "Path('.m.tmp').write_text('[1, 2, 3]'); os.replace('.m.tmp', 'm.json')",
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_writer_that_is_not_atomic_or_does_not_sync_is_caught(
    tmp_path: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch, kind: str, damage: str
) -> None:
    folder, code = tmp_path / "project", tmp_path / "code"
    folder.mkdir()
    code.mkdir()
    module = f"writer_{kind}_{damage}".replace(" ", "_")
    imports = "import os\nfrom pathlib import Path\nfrom imageclf.runtime.files import write_text\n"
    (code / f"{module}.py").write_text(
        f"{imports}if __name__ == '__main__':\n    Path('other').write_text('')\n    {WRITERS[kind]}\n"
    )
    monkeypatch.syspath_prepend(str(code))
    (folder / "m.json").write_text("[1, 2, 3]")
    writer = Writer(module, folder, ["m.json"], fingerprint(folder, ["m.json"]))
    crash_everywhere(writer, damage, tally, removed=True)
    assert bool(tally.faults) == (kind != "whole"), tally.faults


def test_a_stage_whose_bytes_vary_is_caught(project: Project, tally: Tally) -> None:
    command = ("/bin/sh", "-c", "sleep 0.2; echo $$ > m.json")
    target = Target(project, command, ["m.json"], {"m.json": "0" * 64}, 0.1, lambda: None)
    prove_target(target, [True], Random(0), tally)
    assert "m.json differs" in tally.faults[0]
    assert not tally.whole


def test_a_stage_whose_bytes_are_always_the_same_passes(project: Project, tally: Tally) -> None:
    (project.folder / "m.json").write_text("1\n")
    reference = fingerprint(project.folder, ["m.json"])
    command = ("/bin/sh", "-c", "sleep 0.2; echo 1 > .tmp; mv .tmp m.json")
    target = Target(project, command, ["m.json"], reference, 0.1, lambda: None)
    while not tally.tried:
        prove_target(target, [True], Random(0), tally)
    assert tally.whole, tally.faults


def test_a_child_that_outlives_its_parent_is_seen_and_ended(project: Project, tmp_path: Path) -> None:
    with Run(project, ["/bin/sh", "-c", "sleep 600 & echo ready; wait"], tmp_path / "log") as run:
        while "ready" not in run.text:
            assert run.ended(0.01) is None
        family = run.strike(whole_group=False)
    assert len(survivors(family, 0.1)) == 1
    assert not survivors(family, 600)


def test_each_corruption_changes_the_file(tmp_path: Path) -> None:
    path, draws = tmp_path / "a", Random(0)
    for _ in range(50):
        path.write_bytes(b"0123456789")
        corrupt(path, draws)
        assert path.read_bytes() != b"0123456789"


@pytest.mark.parametrize(
    ("code", "text", "fault"),
    [
        (3, "a is damaged; do this\n", None),
        (0, "done\n", "not found"),
        (1, "Traceback (most recent call last):\n...\n", "not one sentence"),
        (5, "cannot write a\n", "exit code 5"),
    ],
)
def test_damage_must_end_in_one_sentence_and_its_code(code: int, text: str, fault: str | None) -> None:
    found = verdict(code, text)
    assert found is None if fault is None else (found or "").startswith(fault)


def test_params_are_set_by_their_key(project: Project) -> None:
    (project.folder / "params.yaml").write_text("train:\n  epochs: 10  # all\nruntime:\n  workers: auto\n")
    set_params(project, epochs=2, workers=4, unknown=1)
    assert project.read("params.yaml") == "train:\n  epochs: 2  # all\nruntime:\n  workers: 4\n"


def test_a_claim_tried_too_rarely_does_not_hold(tmp_path: Path) -> None:
    tally = Tally("row", "done", wanted=2, evidence=tmp_path)
    tally.count(None)
    assert not tally.whole
    tally.count(None)
    assert tally.whole


def test_a_prover_that_stops_is_a_fault_and_the_table_is_drawn(tmp_path: Path) -> None:
    with Tally("row", "done", wanted=None, evidence=tmp_path) as tally:
        json.loads("{")
    assert not tally.whole
    assert "the proof itself stopped: JSONDecodeError" in tally.faults[0]
    assert draw([tally]).splitlines()[2].split() == ["row", "done", "0", "of", "0", "0"]
