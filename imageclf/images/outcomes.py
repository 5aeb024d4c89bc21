"""What is known of each decoded file, and the journal with which an interrupted prepare goes on."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL

import imageclf
from imageclf.runtime.files import sha256_of_file
from imageclf.runtime.platform import locked

PATIENCE = 1.0  # seconds before a line says that another run decodes
Slot = tuple[Path, int]  # the file that takes an image's pixels, and where in it
Slots = Callable[[int], Slot | None]  # of a file by its index; None: its pixels are not kept


@dataclass(frozen=True)
class Outcome:
    """The result for one file: facts about the picture, or its fault."""

    digest: bytes = b""  # of the prepared pixels: equal for copies
    width: int = 0
    height: int = 0
    mode: str = ""
    values: tuple[int, int] | None = None  # range of stored values, for 16-bit grey
    brightest: int = 0  # 0 to 255
    blank: bool = False  # one colour all over
    oddities: tuple[str, ...] = ()  # remarks for the report
    fault: str = ""  # kind of fault; empty: none
    found: str = ""  # description of the fault, and what to do
    sketch: bytes = b""  # grey values of the whole picture, made small; empty: none was asked for


FACTS = np.dtype(  # of a picture; one without 16-bit values has -1 for them
    [
        ("size", np.int32, 2),  # width, height
        ("values", np.int32, 2),
        ("mode", np.int8),
        ("brightest", np.uint8),
        ("blank", np.bool_),
    ]
)


class Outcomes:
    """The outcomes of N files: facts FACTS (N,), with modes as places in `modes`; faults and oddities by index.

    `sketches` uint8 (N, n, n), if there are any, takes those of the pictures.
    """

    def __init__(self, number: int, *, modes: Sequence[str] = (), sketches: np.ndarray | None = None) -> None:
        self._digests = np.zeros(number, "S16")  # half a sha256 tells pictures apart as well as the whole
        self.facts = np.zeros(number, FACTS)
        self._sketches = sketches
        self.modes = [*modes]
        self.faulty: dict[int, Outcome] = {}
        self.odd: dict[int, tuple[str, ...]] = {}

    def put(self, index: int, outcome: Outcome) -> None:
        """Keep the outcome of a file."""
        if outcome.fault:
            self.faulty[index] = outcome
            return
        if outcome.oddities:
            self.odd[index] = outcome.oddities
        if outcome.mode not in self.modes:
            self.modes.append(outcome.mode)
        self._digests[index] = outcome.digest
        if self._sketches is not None:
            self._sketches[index].flat = np.frombuffer(outcome.sketch, np.uint8)
        self.facts[index] = (
            (outcome.width, outcome.height),
            outcome.values or (-1, -1),
            self.modes.index(outcome.mode),
            outcome.brightest,
            outcome.blank,
        )

    def modes_of(self, used: np.ndarray) -> Counter[str]:
        """The number of files by mode, of those at the indices `used` (n,)."""
        counts = np.bincount(self.facts["mode"][used], minlength=len(self.modes)).tolist()
        return +Counter(dict(zip(self.modes, counts, strict=True)))

    def number_pictures(self) -> np.ndarray:
        """A number for each file, int32 (N,), that is the same for the same picture; -1 for a faulty one.

        It can be asked for once: to spare memory, the hashes of the pictures are then dropped.
        """
        numbers = np.unique(self._digests, return_inverse=True)[1].astype(np.int32)
        numbers[list(self.faulty)] = -1
        del self._digests
        return numbers


class Journal:
    """The chunks that are decoded, in a file of lines with checksums, so that an interrupted run can go on."""

    def __init__(self, path: Path, *, image: int) -> None:
        """`image` is the number of bytes of one image in its slot."""
        self._path, self._image = path, image

    def add(self, chunk: range, outcomes: Sequence[Outcome]) -> None:
        """Note a chunk whose images are written."""
        rows = [[outcome.digest.hex(), *astuple(outcome)[1:-1], outcome.sketch.hex()] for outcome in outcomes]
        text = json.dumps([chunk.start, rows])
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"\n{_checksum(text)} {text}")  # the line before may be cut off

    def read(self, slot: Slots) -> Iterator[tuple[int, list[Outcome]]]:
        """The chunks whose images in their slots are still those: the first index, and the outcome of each file."""
        if not self._path.exists():
            return
        done = set[int]()
        with ExitStack() as stack:
            opened: dict[Path, BinaryIO] = {}

            def is_whole(outcome: Outcome, place: Slot | None) -> bool:
                if outcome.fault or place is None:
                    return True
                path, begin = place
                if path not in opened:
                    opened[path] = stack.enter_context(path.open("rb"))
                opened[path].seek(begin)
                return hashlib.sha256(opened[path].read(self._image)).digest() == outcome.digest

            for line in stack.enter_context(self._path.open(encoding="utf-8", errors="replace")):
                checksum, _, text = line.rstrip("\n").partition(" ")
                if checksum != _checksum(text):
                    continue
                begin, rows = json.loads(text)
                outcomes = [_outcome(*row) for row in rows]
                slots = map(slot, range(begin, begin + len(outcomes)))
                if begin not in done and all(map(is_whole, outcomes, slots)):
                    done.add(begin)
                    yield begin, outcomes

    def close(self) -> None:
        """Remove it, before the images leave their slots."""
        self._path.unlink(missing_ok=True)


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def _outcome(digest: str, *facts: Any) -> Outcome:
    width, height, mode, values, brightest, blank, oddities, fault, found, sketch = facts
    whole = None if values is None else tuple(values)
    return Outcome(
        bytes.fromhex(digest),
        width,
        height,
        mode,
        whole,
        brightest,
        blank,
        tuple(oddities),
        fault,
        found,
        bytes.fromhex(sketch),
    )


@contextmanager
def unfinished(folder: Path, facts: dict[str, Any]) -> Iterator[Path]:
    """A folder in `folder` for a run of these `facts`, with what an interrupted one has left there.

    It is this process's alone, removed when the block ends well and kept when not. Those of other facts are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ours = folder / f"prepare-{_fingerprint(facts)[:16]}"
    with locked(
        folder / "prepare.lock",
        patience=PATIENCE,
        waiting="prepare: another run is decoding images; this one waits for it",
    ):
        for other in set(folder.glob("prepare-*")) - {ours}:
            shutil.rmtree(other)
        ours.mkdir(exist_ok=True)
        yield ours
        shutil.rmtree(ours)


def _fingerprint(facts: dict[str, Any]) -> str:
    """Hex sha256 of `facts`, and of the code and the versions of the packages that decode."""
    library = Path(imageclf.__file__).parent
    files = [library / "randomness.py", *sorted((library / "images").glob("*.py"))]
    code = {file.name: sha256_of_file(file) for file in files}
    every = {"facts": facts, "code": code, "versions": [np.__version__, PIL.__version__]}
    return hashlib.sha256(json.dumps(every, sort_keys=True).encode()).hexdigest()
