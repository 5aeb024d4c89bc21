"""A web server on this machine that behaves as it is told."""

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

from imageclf.datasets.source import Patience, PinnedFile
from imageclf.datasets.web import Web

Answer = Callable[[BaseHTTPRequestHandler], None]
# Each minds one thing alone: on a busy machine the others may be as slow as they like.
CALM = Patience(connect=600, stall=600, window=600, pause=0.01, slowest=1e5)
MINDS_SILENCE = replace(CALM, stall=0.5)
MINDS_A_STALL = replace(CALM, stall=2)  # time for a first half to come
MINDS_SLOWNESS = replace(CALM, window=0.3)


class Server(ThreadingHTTPServer):
    """Gives the answers in turn, the last one ever after; keeps the Range that each request asked for."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, answers: list[Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.ranges: list[str | None] = []
        self.closing = threading.Event()

    @property
    def web(self) -> Web:
        return Web(f"http://127.0.0.1:{self.server_port}/", requests.Session)


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        number = len(self.server.ranges)
        self.server.ranges.append(self.headers.get("Range"))
        with suppress(ConnectionError):  # the client may have seen enough
            self.server.answers[min(number, len(self.server.answers) - 1)](self)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(*answers: Answer) -> Iterator[Server]:
    with ExitStack() as stack:
        server = Server(list(answers))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        stack.callback(server.closing.set)
        yield server


@contextmanager
def unreachable() -> Iterator[Web]:
    """A port where nobody listens, held so that no other process comes to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield Web(f"http://127.0.0.1:{held.getsockname()[1]}/", requests.Session)


def whole(content: bytes, kind: str = "application/octet-stream") -> Answer:
    """All of it with status 200, whatever range is asked for."""
    return partly(content, len(content), kind)


def partly(content: bytes, stop: int, kind: str = "application/octet-stream") -> Answer:
    """A 200 that promises all and ends after `stop` bytes."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:stop])

    return answer


def ranged(content: bytes) -> Answer:
    """What is asked for, with 206 where that is a part."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        if asked is None:
            return whole(content)(handler)
        begin = int(asked.removeprefix("bytes=").removesuffix("-"))
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        handler.send_header("Content-Length", str(len(content) - begin))
        handler.end_headers()
        handler.wfile.write(content[begin:])
        return None

    return answer


def dripping(content: bytes, *, chunk: int, every: float) -> Answer:
    """All of it, a little at a time. `every` beyond the test's end is a hang after the first chunk."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        for begin in range(0, len(content), chunk):
            handler.wfile.write(content[begin : begin + chunk])
            handler.wfile.flush()
            if handler.server.closing.wait(every):  # type: ignore[attr-defined]
                return

    return answer


def silent(handler: BaseHTTPRequestHandler) -> None:
    """Takes the request and never answers."""
    handler.server.closing.wait(600)  # type: ignore[attr-defined]


def refused(status: int) -> Answer:
    return lambda handler: handler.send_error(status)


def pinned(name: str, content: bytes) -> PinnedFile:
    return PinnedFile(name, len(content), f"sha256:{hashlib.sha256(content).hexdigest()}")
