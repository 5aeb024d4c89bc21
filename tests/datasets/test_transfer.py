from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter

from imageclf.datasets.source import Patience
from imageclf.datasets.web import TRIES, Web, https_only
from imageclf.runtime.errors import Fault, TooSlow
from tests.datasets.loopback import (
    CALM,
    MINDS_A_STALL,
    MINDS_SILENCE,
    MINDS_SLOWNESS,
    Answer,
    dripping,
    partly,
    pinned,
    ranged,
    refused,
    serving,
    silent,
    unreachable,
    whole,
)

CONTENT = bytes(range(256)) * 400
HALF = len(CONTENT) // 2
FILE = pinned("file.bin", CONTENT)


def fetch(tmp_path: Path, *answers: Answer) -> list[str | None]:
    """Fetch from a server with these answers; gives the ranges that were asked for."""
    with serving(*answers) as server:
        server.web.fetch(FILE, tmp_path / FILE.name, CALM)
    assert (tmp_path / FILE.name).read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == [FILE.name]
    return server.ranges


def failure(tmp_path: Path, *answers: Answer, patience: Patience = CALM) -> str:
    with serving(*answers) as server, pytest.raises(Fault) as fault:
        server.web.fetch(FILE, tmp_path / FILE.name, patience)
    assert not (tmp_path / FILE.name).exists()
    return str(fault.value)


def test_a_file_comes_whole(tmp_path: Path) -> None:
    assert fetch(tmp_path, ranged(CONTENT)) == [None]


def test_a_broken_answer_goes_on_by_range_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch(tmp_path, partly(CONTENT, HALF), ranged(CONTENT)) == [None, f"bytes={HALF}-"]
    assert f"at {HALF:,} of {len(CONTENT):,} bytes; resuming (try 2 of {TRIES})" in capsys.readouterr().out


def test_an_earlier_run_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:HALF])
    assert fetch(tmp_path, ranged(CONTENT)) == [f"bytes={HALF}-"]


def test_a_whole_part_needs_no_host(tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert fetch(tmp_path, refused(500)) == []


def test_a_server_without_ranges_begins_again(tmp_path: Path) -> None:
    assert fetch(tmp_path, partly(CONTENT, HALF), whole(CONTENT)) == [None, f"bytes={HALF}-"]


def test_a_wrong_beginning_is_dropped_and_not_blamed_on_this_host(tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(bytes(HALF))
    assert fetch(tmp_path, ranged(CONTENT)) == [f"bytes={HALF}-", None]


def test_a_part_longer_than_the_file_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    assert fetch(tmp_path, ranged(CONTENT)) == [None]


def test_wrong_bytes_are_removed_and_named_by_both_hashes(tmp_path: Path) -> None:
    found = failure(tmp_path, whole(bytes(len(CONTENT))))
    assert found.startswith("the download has sha256:") and f"not {FILE.digest[:16]}" in found
    assert not list(tmp_path.iterdir())


def test_a_web_page_is_not_taken_for_the_file(tmp_path: Path) -> None:
    assert "web page (text/html)" in failure(tmp_path, whole(b"<html>log in</html>", "text/html"))


def test_an_answer_of_another_length_is_refused_before_it_is_read(tmp_path: Path) -> None:
    assert failure(tmp_path, whole(b"short")) == (
        f"the answer has 5 bytes of application/octet-stream, not {len(CONTENT)}"
    )


def test_a_range_of_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:HALF])
    assert f"bytes {HALF}-{2 * len(CONTENT) - 1}/" in failure(tmp_path, ranged(CONTENT * 2))


def test_a_missing_file_is_not_asked_for_again(tmp_path: Path) -> None:
    assert failure(tmp_path, refused(404), whole(CONTENT)) == "the answer is 404 Not Found"


def test_a_silent_host_is_left_after_one_stall(tmp_path: Path) -> None:
    assert failure(tmp_path, silent, whole(CONTENT), patience=MINDS_SILENCE) == "no byte for 0.5 s"


def test_a_closed_port_fails_at_once(tmp_path: Path) -> None:
    with unreachable() as web, pytest.raises(Fault, match="cannot be reached"):
        web.fetch(FILE, tmp_path / FILE.name, CALM)


def test_a_host_that_always_breaks_is_left_and_its_bytes_kept(tmp_path: Path) -> None:
    found = failure(tmp_path, partly(CONTENT, 1000))
    assert found.endswith(f"1,000 of {len(CONTENT):,} bytes are kept")
    assert (tmp_path / "file.bin.part").stat().st_size == 1000


def test_a_slow_host_gives_way(tmp_path: Path) -> None:
    with serving(dripping(CONTENT, chunk=100, every=0.05)) as server, pytest.raises(TooSlow, match=r"only .* kB/s"):
        server.web.fetch(FILE, tmp_path / FILE.name, MINDS_SLOWNESS)
    assert (tmp_path / "file.bin.part").stat().st_size >= 100


def test_a_stall_in_the_middle_gives_way(tmp_path: Path) -> None:
    with serving(dripping(CONTENT, chunk=HALF, every=600)) as server, pytest.raises(TooSlow, match="no byte for"):
        server.web.fetch(FILE, tmp_path / FILE.name, MINDS_A_STALL)


def test_without_another_source_a_slow_host_is_borne_with(tmp_path: Path) -> None:
    with serving(dripping(CONTENT, chunk=10_000, every=0.05)) as server:
        server.web.fetch(FILE, tmp_path / FILE.name, MINDS_SLOWNESS.endless())
    assert (tmp_path / FILE.name).read_bytes() == CONTENT


def test_without_another_source_a_stall_is_tried_again(tmp_path: Path) -> None:
    with serving(dripping(CONTENT, chunk=HALF, every=600), ranged(CONTENT)) as server:
        server.web.fetch(FILE, tmp_path / FILE.name, MINDS_A_STALL.endless())
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_plain_http_is_refused(tmp_path: Path) -> None:
    with serving(whole(CONTENT)) as server, pytest.raises(Fault, match="not https"):
        Web(server.web.url).fetch(FILE, tmp_path / FILE.name, CALM)
    assert server.ranges == []


def test_a_redirect_from_https_to_http_is_refused(tmp_path: Path) -> None:
    with serving(whole(CONTENT)) as server:

        class Redirect(BaseAdapter):
            def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
                response = requests.Response()
                response.status_code, response.url, response.request = 302, str(request.url), request
                response.headers["Location"] = f"{server.web.url}file.bin"
                response.raw = None
                response._content = b""
                return response

            def close(self) -> None:
                pass

        def session() -> requests.Session:
            made = https_only()
            made.mount("https://safe.test/", Redirect())
            return made

        with pytest.raises(Fault, match="not https"):
            Web("https://safe.test/", session).fetch(FILE, tmp_path / FILE.name, CALM)
    assert server.ranges == []
