"""List labels that may be wrong: `python -m tools.label_errors CV`, after `python -m tools.cross_validate`.

CV is a cross-validation, whose classifiers answered each image without having seen it; or any run, of which only the
test images count. Writes metrics/label_errors (not tracked by git or DVC): suspects.csv, to be edited and given to
data.corrections, and suspects.png. It changes no label.
"""

import argparse
import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from imageclf.config.params import read_params
from imageclf.config.section import NO_FILE
from imageclf.evaluation.label_errors import Suspects, find_suspects
from imageclf.evaluation.mistakes import BOX, GREEN, RED, Mistake, draw_mistakes
from imageclf.evaluation.predictions import Predictions, parse_best
from imageclf.images.dataset import PREPARED
from imageclf.images.originals import Original, read_originals
from imageclf.runtime.errors import DataError, printable
from imageclf.runtime.files import replaced_folder
from imageclf.runtime.platform import available_cores
from imageclf.runtime.stage import run_tool
from tools.comparing.folds import find_folds, joined
from tools.comparing.pictures import images_of_all
from tools.comparing.predictions import read_predictions, read_text
from tools.comparing.revisions import find_revision
from tools.comparing.verdict import cut

RAW = Path("data/raw")
FOLDER = Path("metrics/label_errors")
DRAWN = 100
PAIRS = 10  # lines
HEADER = ["path", "label", "given", "probability", "given_probability"]


def main() -> None:
    # 1. Read the answers, and find the suspects.
    name = _arguments().run
    revisions = find_folds(name) or [find_revision(name)]
    read = [read_predictions(revision) for revision in revisions]
    answers = joined(read)
    best = [parse_best(read_text(revision)[0]) for revision in revisions]
    classes, probabilities = (np.concatenate(parts) for parts in zip(*best, strict=True))
    found = find_suspects(answers.labels, answers.probabilities, classes, probabilities)

    # 2. Write the table and the sheet.
    pictures = images_of_all(list(zip(revisions, read, strict=True)))
    with replaced_folder(FOLDER) as folder:
        (folder / "suspects.csv").write_text(_table(answers, found), encoding="utf-8", newline="")
        if pictures is not None:
            _sheet(answers, found, pictures, name).save(folder / "suspects.png")

    # 3. Say what was found, and what to do.
    print("\n".join(_lines(name, answers, found, drawn=pictures is not None)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.label_errors", description="Which labels may be wrong? It changes none."
    )
    parser.add_argument("run", metavar="CV", help="the name of a cross-validation, or of a run: its test images only")
    return parser.parse_args()


def _table(answers: Predictions, found: Suspects) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for place, likelier, probability in _rows(found):
        figures = f"{probability:.4f}", f"{answers.probabilities[place]:.4f}"
        writer.writerow([answers.paths[place], likelier, answers.labels[place], *figures])
    return text.getvalue()


def _rows(found: Suspects) -> Iterator[tuple[int, str, float]]:
    return zip(found.places.tolist(), found.likelier.tolist(), found.probabilities.tolist(), strict=True)


def _sheet(answers: Predictions, found: Suspects, pictures: Sequence[np.ndarray], name: str) -> Image.Image:
    rows = list(islice(_rows(found), DRAWN))
    originals, fit = _originals([answers.paths[place] for place, _, _ in rows], channels=pictures[0].shape[-1])
    shown = [
        Mistake(
            image=original.seen if original else np.array(pictures[place]),
            name=answers.paths[place],
            label=answers.labels[place],
            prediction=likelier,
            probability=probability,
            whole=original.whole if original and fit == "crop" else None,
        )
        for (place, likelier, probability), original in zip(rows, originals, strict=True)
    ]
    some = f"The {len(shown)} most suspicious of " if len(shown) < len(found.places) else ""
    title = f"{some}{len(found.places):,} labels that may be wrong"
    subtitle = f"of {len(answers.ids):,} images, by the answers of {printable(name)}"
    return draw_mistakes(shown, title=title, subtitle=subtitle, words=("given", "likelier"), colours=(RED, GREEN))


def _originals(paths: list[str], *, channels: int) -> tuple[list[Original | None], str]:
    """What the files of own images show, as far as they are here, and how prepare fits them into a square."""
    prepared = PREPARED / "dataset.json"
    facts = json.loads(prepared.read_text()) if prepared.exists() else {}
    fit = facts.get("fit", "crop")
    if not facts:
        return [None] * len(paths), fit
    found = read_originals(
        RAW, paths, side=BOX, channels=channels, fit=fit, window=facts["window"], threads=available_cores()
    )
    for each in found:
        if isinstance(each, DataError):
            print(f"label_errors: {each}; suspects.png shows the prepared image", flush=True)
    return [each if isinstance(each, Original) else None for each in found], fit


def _lines(name: str, answers: Predictions, found: Suspects, *, drawn: bool) -> Iterator[str]:
    count, right = len(answers.ids), float(answers.correct.mean())
    yield f"label_errors: {printable(name)}, {count:,} images, {100 * right:.1f} % with the answer of their label"
    if not len(found.places):
        yield "  no label seems wrong"
        return
    share = 100 * len(found.places) / count
    yield f"  {len(found.places):,} labels may be wrong, {share:.1f} %; the most frequent:"
    pairs = Counter(zip(answers.labels[found.places], found.likelier, strict=True))
    for (given, likelier), number in pairs.most_common(PAIRS):
        yield f"  {number:>6,}  {cut(given)}, likelier {cut(likelier)}"
    pictures = ", suspects.png" if drawn else "; no pictures: dvc checkout or dvc pull brings them"
    yield f"  {FOLDER}/   suspects.csv{pictures}"
    yield ""
    yield from _next_steps()


def _next_steps() -> Iterator[str]:
    data = read_params().data
    if data.name != "folder":
        yield f"  The labels of {data.name} stay as they were published: data.corrections is for own images."
        return
    yield "  Look at suspects.png: some are only hard to tell. In suspects.csv, remove the lines whose given label is"
    yield "  right; where both are wrong, write the right one, or none to leave the picture out. Then:"
    if data.corrections == NO_FILE:
        yield f"    cp {FOLDER}/suspects.csv corrections.csv && git add corrections.csv"
        yield "    dvc exp run -S data.corrections=corrections.csv"
    else:
        yield f"    tail -n +2 {FOLDER}/suspects.csv >> {printable(data.corrections)}"
        yield "    dvc exp run"


if __name__ == "__main__":
    run_tool(main)
