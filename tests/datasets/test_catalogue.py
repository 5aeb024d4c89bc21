import re

import pytest

from imageclf.datasets.catalogue import CATALOGUE
from imageclf.datasets.source import Entry
from imageclf.datasets.web import Web, https_only


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_an_entry_is_complete(entry: Entry) -> None:
    different = len(set(entry.classes))
    assert different == len(entry.classes) == {"cifar10": 10, "cifar100": 100, "shapes": 8}.get(entry.name, different)
    assert bool(entry.sources) != bool(entry.draw)
    for source in entry.sources:
        for file in source.files:
            assert file.size > 1000
            assert re.fullmatch(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", file.digest)


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_only_https_is_spoken(entry: Entry) -> None:
    for source in entry.sources:
        if isinstance(source.origin, Web):
            assert re.fullmatch(r"https://.+/", source.origin.url)
            assert source.origin.session is https_only
