"""A file or a folder is whole or absent, whatever happens while it is written."""

import os
from pathlib import Path

import pytest

from imageclf.runtime.files import replaced_folder, write_bytes, write_json
from tests.conftest import NO_PROCESS


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"old")
    with pytest.raises(TypeError):
        write_json(tmp_path / "a", {"not json": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_failure_leaves_the_old_folder_and_no_other(tmp_path: Path) -> None:
    with replaced_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("old")
    with pytest.raises(KeyboardInterrupt), replaced_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("new")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "file").read_text() == "old"


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with replaced_folder(tmp_path / "out") as folder:
            (folder / name).touch()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"new", "SHA256SUMS"}


def test_a_linked_file_is_replaced_and_what_it_was_linked_to_is_left_alone(tmp_path: Path) -> None:
    # DVC links its cache into the workspace.
    (tmp_path / "cache").write_bytes(b"cached")
    (tmp_path / "a").hardlink_to(tmp_path / "cache")
    write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "cache").read_bytes() == b"cached"


def test_equal_values_are_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"x": 1, "y": "é"})
    write_json(tmp_path / "b", {"y": "é", "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a", float("nan"))


def test_what_killed_processes_left_is_swept_and_what_the_living_write_is_not(tmp_path: Path) -> None:
    (tmp_path / f".out.tmp.{NO_PROCESS}").mkdir()
    (tmp_path / f".out.tmp.{NO_PROCESS}" / "half").touch()
    (tmp_path / f".out.tmp.{os.getppid()}").touch()
    with replaced_folder(tmp_path / "out") as folder:
        (folder / "file").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"out", f".out.tmp.{os.getppid()}"}
