"""Published weights come over the network once, resumed and checked against the hash in their name."""

import hashlib
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from imageclf.datasets.web import Web
from imageclf.runtime.errors import ParamsError, SourceError
from imageclf.weights.initial import fetch_stamped, published_weights
from tests.datasets.loopback import CALM, _Handler, serving, unreachable

CONTENT = bytes(range(256)) * 50
NAME = f"net-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


@pytest.fixture(autouse=True)
def answers_to_head(monkeypatch: pytest.MonkeyPatch) -> None:
    def do_head(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()

    monkeypatch.setattr(_Handler, "do_HEAD", do_head, raising=False)


def answer(content: bytes, *, length: int | None = None) -> object:
    def give(handler: BaseHTTPRequestHandler) -> None:
        begin = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        handler.send_response(206 if begin else 200)
        handler.send_header("Content-Length", str(len(CONTENT) - begin))
        if begin:
            handler.send_header("Content-Range", f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}")
        handler.end_headers()
        handler.wfile.write(content[begin:length])

    return give


def fetch(web: Web, folder: Path) -> Path:
    return fetch_stamped(f"{web.url}{NAME}", folder, web=web, patience=CALM)


def test_it_comes_once(tmp_path: Path) -> None:
    with serving(answer(CONTENT)) as server:  # type: ignore[arg-type]
        assert fetch(server.web, tmp_path / "a").read_bytes() == CONTENT
        assert fetch(server.web, tmp_path / "a").read_bytes() == CONTENT
        assert server.ranges == [None]


def test_what_broke_off_goes_on(tmp_path: Path) -> None:
    with serving(answer(CONTENT, length=5000), answer(CONTENT)) as server:  # type: ignore[arg-type]
        assert fetch(server.web, tmp_path).read_bytes() == CONTENT
        assert server.ranges[1] == "bytes=5000-"


def test_another_file_is_refused_and_one_on_disk_is_replaced(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"other")
    with serving(answer(bytes(len(CONTENT))), answer(CONTENT)) as server:  # type: ignore[arg-type]
        with pytest.raises(
            SourceError, match=r"the download has sha256:.*; run again, or get it elsewhere and give its path"
        ):
            fetch(server.web, tmp_path)
        assert fetch(server.web, tmp_path).read_bytes() == CONTENT


def test_without_a_network_it_is_one_sentence(tmp_path: Path) -> None:
    sentence = r"it cannot be reached \(ConnectionError\); run again, or get it elsewhere"
    with unreachable() as web, pytest.raises(SourceError, match=sentence):
        fetch(web, tmp_path)


@pytest.mark.parametrize("model", ["cifarnet", "timm/resnet10t", "package.module:Net"])
def test_models_without_published_weights_are_named(tmp_path: Path, model: str) -> None:
    with pytest.raises(ParamsError, match=rf"train\.pretrained needs a torchvision model, .* {model}; get its"):
        published_weights(model, tmp_path)
