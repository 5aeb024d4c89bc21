"""The hashes are DVC's."""

import os
from pathlib import Path

import pytest

from tests.conftest import Project
from tools.repository import Hashes, folder_hash, parse_lock


def test_every_hash_in_a_real_dvc_lock_is_found_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    hashes = Hashes()
    entries = [entry for stage in parse_lock(project.read("dvc.lock")) for entry in stage.outs + stage.deps]
    assert len(entries) > 50
    assert {entry.path: hashes.entry(entry.path) for entry in entries} == {entry.path: entry.md5 for entry in entries}


def test_the_order_of_a_folders_files_is_by_name_and_names_are_escaped() -> None:
    # From dvc_data's Tree: MD5 of [{"md5": ..., "relpath": ...}, ...].
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    listing = {"ü.png": "a" * 32, "b/c.npy": "b" * 32, "b.npy": "c" * 32, "B": "d" * 32}
    tree = Tree()
    for name, md5 in listing.items():
        tree.add(tuple(name.split("/")), None, HashInfo("md5", md5))
    tree.digest()
    assert folder_hash(listing) == tree.oid


def test_hard_links_are_hashed_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x")
    os.link(tmp_path / "one", tmp_path / "two")
    hashes = Hashes()
    hashes.begin([tmp_path, tmp_path / "missing"])
    assert len(hashes._taken) == 1
    assert set(hashes.listing(tmp_path).values()) == {"9dd4e461268c8034f5c8564e155c67a6"}
