"""Classify your own pictures with the exported classifier.

    python -m tools.predict PATH... [--files-from LIST] [--top K] [--min-precision P] [--json | --csv] [--model FILE]

It prints one line per picture: path, class and probability. An answer is marked (unsure) if its probability is below
the classifier's threshold (`evaluate.target_precision`), and (unlike the training images) if its probabilities are
spread as widely as for few validation images. With --min-precision it is `unknown` if it is below the threshold for
this percentage. A folder stands for all pictures below it. Remarks and unreadable files go to standard error; if a file
is unreadable, the others are still answered and the exit code is 3.
"""

import argparse
import csv
import io
import json
import math
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imageclf.evaluation.scores import entropy
from imageclf.export.onnx_answers import OnnxClassifier, load_onnx_classifier
from imageclf.images.decode import Picture, read_picture, rule
from imageclf.images.kinds import find_pictures
from imageclf.images.remarks import cut_away, narrow_range, tiny
from imageclf.runtime.errors import DataError, printable, some
from imageclf.runtime.files import SUMS, check_sums
from imageclf.runtime.platform import available_cores
from imageclf.runtime.stage import run_tool

MODEL = Path("models/export/classifier.onnx")
WIDEST = 40  # characters of a column; longer text shifts the rest
TOGETHER = 64  # pictures per batch


class Answer(NamedTuple):
    """What the classifier says of a picture."""

    best: list[tuple[str, float]]  # classes and probabilities, the most probable first
    entropy: float  # of all probabilities, in nats


def main() -> None:
    # 1. Load the classifier, and find the pictures.
    parser = _parser()
    arguments = parser.parse_args()
    if not arguments.paths and arguments.files_from is None:
        parser.error("give a PATH or --files-from")
    _prepare_terminal()
    if (arguments.model.parent / SUMS).exists():  # a file copied elsewhere has no checksums
        check_sums(arguments.model.parent)
    classifier = load_onnx_classifier(arguments.model)
    known_from = _threshold(classifier, arguments.min_precision)
    pictures, faults = _expand([*arguments.paths, *_listed(arguments.files_from)])

    # 2. Print answers and faults as they come.
    width = min(max((len(printable(path)) for path in pictures), default=0), WIDEST)
    top = min(arguments.top, len(classifier.classes))
    table = csv.writer(sys.stdout, lineterminator="\n")
    if arguments.csv:
        names = [f"{name}{number}" for number in ("", *range(2, top + 1)) for name in ("class", "probability")]
        table.writerow(["path", *names, "unsure", "unlike", *["unknown"] * (known_from > 0)])
    sizes: list[tuple[int, int]] = []  # (width, height)
    ranges: list[tuple[int, int]] = []  # of 16-bit grey
    for path, picture, answer in _answers(classifier, pictures, top):
        if isinstance(picture, DataError) or answer is None:
            faults += 1
            _tell(str(picture))
            continue
        sizes.append((picture.width, picture.height))
        ranges += [picture.values] if picture.values else []
        marks = _marks(answer, classifier, known_from)
        if arguments.json:
            best = [{"class": name, "probability": round(probability, 6)} for name, probability in answer.best]
            marks = {name: mark for name, mark in marks.items() if mark is not None}
            print(json.dumps({"path": str(path), "answers": best} | marks), flush=True)
        elif arguments.csv:
            cells = [cell for name, probability in answer.best for cell in (name, f"{probability:.6f}")]
            table.writerow([path, *cells, *({None: "", True: "yes", False: "no"}[mark] for mark in marks.values())])
            sys.stdout.flush()
        else:
            print(f"{printable(path):{width}}  {_words(answer, marks, classifier.classes)}", flush=True)

    # 3. Print remarks on the pictures.
    for remark in _remarks(classifier, sizes, ranges):
        _tell(remark)
    if faults:
        sys.exit(DataError.exit_code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.predict",
        description="Classify pictures with the exported classifier.",
        epilog=f"Preprocessing of pictures of any size: {rule('crop')}, or as prepare.fit says.",
    )
    parser.add_argument("paths", nargs="*", type=_path, metavar="PATH", help="a picture, or a folder of pictures")
    parser.add_argument("--files-from", metavar="LIST", help="a file with a path a line; -: standard input")
    parser.add_argument("--top", type=_positive, default=1, metavar="K", help="classes per picture (default: 1)")
    parser.add_argument(
        "--min-precision",
        type=_percentage,
        metavar="P",
        help="say unknown where fewer than P %% of such answers were right on validation: 80, 90, 95, 98 or 99",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line instead of columns")
    form.add_argument("--csv", action="store_true", help="a table with a header instead of columns")
    parser.add_argument("--model", type=Path, default=MODEL, metavar="FILE", help=f"the classifier (default: {MODEL})")
    return parser


def _listed(source: str | None) -> list[Path]:
    """The paths in a list, without empty lines.

    Raises:
        DataError: the list cannot be read, is empty or has no text.
    """
    if source is None:
        return []
    name = "standard input" if source == "-" else printable(source)
    try:
        content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise DataError(f"{name} cannot be read as a list of paths ({error.strerror})") from None
    if b"\0" in content:
        raise DataError(f"{name} is not a list of paths, one a line; give a picture as PATH")
    paths = [Path(os.fsdecode(line)) for line in content.splitlines() if line]
    if not paths:
        raise DataError(f"{name} is an empty list; give it a path a line")
    return paths


def _path(text: str) -> Path:
    if not text:  # an unset shell variable; Path("") is the current folder
        raise argparse.ArgumentTypeError("an empty path")
    return Path(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _prepare_terminal() -> None:
    warnings.simplefilter("ignore")  # Pillow's warnings about a file; errors are raised
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` may close the pipe


def _expand(paths: list[Path]) -> tuple[list[Path], int]:
    """All pictures below the paths, and the number of folders without any."""
    pictures: list[Path] = []
    faults = 0
    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where a name is too long
            pictures.append(path)
            continue
        found, others = find_pictures(path)
        pictures += found
        for reason in dict.fromkeys(others.values()):
            names = [other.relative_to(path) for other in others if others[other] == reason]
            _tell(f"{printable(path)}: skipped {some(names)}: {reason}")
        if not found:
            faults += 1
            _tell(f"{printable(path)}: no pictures in this folder; check the path")
    return pictures, faults


def _answers(
    classifier: OnnxClassifier, paths: list[Path], top: int
) -> Iterator[tuple[Path, Picture | DataError, Answer | None]]:
    """For each path, in order: its picture and the `top` most probable classes, or the error."""
    threads = available_cores()

    def read(path: Path) -> Picture | DataError:
        try:
            return read_picture(
                path,
                size=classifier.size,
                channels=classifier.channels,
                fit=classifier.fit,
                window=classifier.window,
            )
        except DataError as error:
            return error

    with ThreadPoolExecutor(threads) as pool:
        for begin in range(0, len(paths), TOGETHER):
            batch = paths[begin : begin + TOGETHER]
            read_ones = list(pool.map(read, batch))
            images = [picture.pixels for picture in read_ones if not isinstance(picture, DataError)]
            rows = iter(classifier.probabilities(np.stack(images), threads=threads)) if images else iter(())
            for path, picture in zip(batch, read_ones, strict=True):
                fault = isinstance(picture, DataError)
                yield path, picture, None if fault else _answer(next(rows), classifier.classes, top)


def _remarks(classifier: OnnxClassifier, sizes: list[tuple[int, int]], ranges: list[tuple[int, int]]) -> Iterator[str]:
    """The same remarks that prepare prints on training images."""
    narrow = "" if classifier.window else narrow_range(ranges)
    cut = cut_away(sizes, classifier.size) if classifier.fit == "crop" else ""
    remarks = {
        "narrow range": f"{narrow}, and train again" if narrow else "",
        "cut away": f"{cut}, and train again" if cut else "",
        "tiny": tiny(sizes),
    }
    yield from (f"{kind}: {words}" for kind, words in remarks.items() if words)
    if sizes and classifier.threshold is None:
        yield "no answer is marked as unsure: this classifier has no threshold (evaluate.target_precision)"
    if sizes and classifier.unlike_entropy is None:
        yield "no picture is called unlike the training images: this classifier had too few validation images"


def _answer(probabilities: np.ndarray, classes: list[str], top: int) -> Answer:
    order = np.argsort(-probabilities, kind="stable")[:top]
    best = [(classes[index], float(probabilities[index])) for index in order]
    return Answer(best, float(entropy(probabilities[None].astype(np.float64))[0]))


def _threshold(classifier: OnnxClassifier, precision: float | None) -> float:
    """The lowest probability of a known answer; 0 if none is unknown.

    Raises:
        DataError: the classifier has no threshold for this precision, in percent.
    """
    if precision is None:
        return 0.0
    enough = [float(percent) for percent in classifier.thresholds if float(percent) >= precision]
    if not enough:
        there = " or ".join(sorted(classifier.thresholds, key=float))
        raise DataError(
            f"--min-precision is {precision:g}, and the validation images of this classifier are too few, or too often "
            f"wrong, to show that; {f'it can be {there}' if there else 'leave it out'}"
        )
    return classifier.thresholds[f"{min(enough):g}"]


def _percentage(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 < value < 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage over 1 and below 100; 90 % is 90")
    return value


def _marks(answer: Answer, classifier: OnnxClassifier, known_from: float) -> dict[str, bool | None]:
    """Whether an answer is unsure, unlike the training images and, where it is asked, unknown; None: no one can say."""
    # Rounded to 6 digits like the probabilities that the thresholds were chosen from.
    probability, limit = round(answer.best[0][1], 6), classifier.unlike_entropy
    marks = {
        "unsure": None if classifier.threshold is None else probability < classifier.threshold,
        "unlike": None if limit is None else answer.entropy > limit,
    }
    return marks | ({"unknown": probability < known_from} if known_from else {})


def _words(answer: Answer, marks: dict[str, bool | None], classes: list[str]) -> str:
    width = min(max(len(printable(name)) for name in classes), WIDEST)
    unknown, doubt = marks.get("unknown"), ""
    if marks["unlike"]:
        doubt = "  (unlike the training images)"
    elif marks["unsure"] and not unknown:
        doubt = "  (unsure)"
    best = [("unknown", answer.best[0][1])] if unknown else answer.best
    words = (f"{printable(name):{width}} {100 * probability:5.1f} %" for name, probability in best)
    return "  ".join(words) + doubt


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_tool(main)
