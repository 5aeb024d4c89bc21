"""The report: whole in one file, and nothing in it but what the template has, whatever the names."""

import base64
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from imageclf.evaluation.calibration import coverage_table
from imageclf.evaluation.report import Remark, render_report, verdict
from imageclf.evaluation.tables import class_table
from imageclf.models.card import Card
from stages import evaluate
from tests.imports import ROOT
from tests.small_run import make_card, make_run, random_images

HOSTILE = ("<img src=x onerror=alert(1)>", '"><script>alert(1)</script>', "{{ 7 * 7 }}", "' onmouseover='alert(1)")
PLAIN = ("ant", "bee", "cat", "dog")


class Outline(HTMLParser):
    """Every element with the names of its attributes, and all text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    return parser


def report(
    tmp_path: Path,
    card: Card,
    *,
    trust: bool = True,
    remarks: Sequence[Remark] = (),
    ranks: Sequence[int] = (1, 5),
    counts: np.ndarray | None = None,
    drawn: Image.Image | None = None,
) -> str:
    counts = np.full((len(card.classes), len(card.classes)), 2) if counts is None else counts
    picture = tmp_path / "picture.png"
    (drawn or Image.new("RGB", (4, 4))).save(picture)
    scores = {"loss": 1.0, "ece": 0.1, "images": 100}
    scores |= {f"top{k}{end}": 0.5 for k in ranks for end in ("", "_low", "_high")}
    figures = {"threshold": 0.6, "asked": 0.9}
    figures |= {f"{name}{end}": 0.5 for name in ("coverage", "precision") for end in ("", "_low", "_high")}
    calibration = {"temperature": 2.0, "loss_as_trained": 0.9, "ece_as_trained": 0.01}
    unlike = {f"false_alarms{end}": 0.5 for end in ("", "_low", "_high")}
    certain = {"calibration": calibration, "selective": figures, "unlike": unlike}
    return render_report(
        card,
        scores | (certain if trust else {}),
        images={"train": 10, "val": 5, "test": 100},
        parameters=1000,
        weights="5ef6" * 16,
        history=pd.DataFrame(
            [[1, 1.0, np.nan, 0.5, np.nan, 0.1]],
            columns=["epoch", "train_loss", "val_loss", "train_top1", "val_top1", "lr"],
        ),
        classes=class_table(counts, card.classes),
        confusion=counts,
        reliability=pd.DataFrame(
            {"probabilities": ["as shipped"], "confidence": [0.5], "accuracy": [0.4], "images": [10]}
        ),
        coverage=coverage_table(np.array([0.9, 0.5]), np.array([True, False])),
        remarks=remarks,
        findings=["46 test images <are few>"],
        pictures={"A picture": picture},
    )


def with_names(names: tuple[str, ...]) -> Card:
    card = make_card(classes=names)
    return replace(card, data=names[0], model=names[1], params={"train": {names[2]: names[3]}})


def test_hostile_names_add_no_element_and_no_attribute(tmp_path: Path) -> None:
    plain, hostile = (
        outline(report(tmp_path, with_names(names), remarks=[Remark(*names[:2], 2, list(names[2:]))]))
        for names in (PLAIN, HOSTILE)
    )
    assert hostile.elements == plain.elements
    text = "".join(hostile.words)
    assert all(name in text for name in HOSTILE)


def test_nothing_runs_and_nothing_is_fetched(tmp_path: Path) -> None:
    page = report(tmp_path, with_names(PLAIN))
    found = outline(page).elements
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found}
    assert not [name for _, names in found for name in names if name.startswith("on")]
    assert not re.search(r"https?:|url\(|@import", page)
    assert re.findall(r'src="([^,]*),', page) == ["data:image/png;base64"]
    assert "default-src 'none'" in page


@pytest.mark.parametrize("classes", [30, 31, 100])
def test_a_table_for_few_classes_and_the_worst_pairs_of_many(tmp_path: Path, classes: int) -> None:
    page = report(tmp_path, make_card(classes=tuple(f"c{number}" for number in range(classes))))
    assert ('class="heat"' in page) == (classes <= 30)
    assert ("20 most frequent confusions" in page) == (classes > 30)
    assert ("The 30 with the lowest F1" in page) == ("<details>" in page) == (classes > 30)
    assert ">c29<" in page  # in the table, or among all classes


def test_a_class_without_test_images_has_dashes(tmp_path: Path) -> None:
    card = make_card()
    text = " ".join(outline(report(tmp_path, card, counts=np.array([[2, 0, 0], [1, 1, 0], [0, 0, 0]]))).words)
    assert text.split("cat")[-1].split()[:6] == ["–", "–", "–", "–", "0", "Pictures"]


def test_the_verdict_counts_of_100_and_never_narrows_an_interval() -> None:
    classes = class_table(np.array([[20, 1], [2, 10]]), ["ant", "bee"])
    scores = {"images": 33, "top1_low": 0.764, "top1_high": 0.969}
    assert verdict(scores, classes) == (
        "Of 100 images like the test images, it gets 76 to 97 right; whoever always answers ant gets 64"
    )
    sure = {"precision": 0.97, "coverage_low": 0.5, "coverage_high": 0.801, "precision_low": 0.9, "precision_high": 1.0}
    assert verdict(scores | {"selective": sure}, classes).endswith(
        "It is sure of 50 to 81 of 100, and right on 90 to 100 of 100 such answers"
    )


def test_the_verdict_on_a_classifier_that_does_not_beat_the_most_frequent_class() -> None:
    classes = class_table(np.array([[20, 1], [12, 0]]), ["ant", "bee"])
    scores = {"images": 33, "top1_low": 0.44, "top1_high": 0.75}
    assert verdict(scores, classes) == (
        "On 33 test images it is not shown to be better than a guess: whoever always answers ant gets 64 of 100 right"
    )


def test_it_says_what_the_weights_were_made_from(tmp_path: Path) -> None:
    card = replace(make_card(), made_from={"module": "ab" * 32}, data_sha256={"train_images": "cd" * 32})
    text = " ".join(outline(report(tmp_path, card)).words)
    assert all(each in text for each in ("5ef6" * 16, "ab" * 32, "cd" * 32))


def test_remarks_are_shown_where_there_are_some(tmp_path: Path) -> None:
    remark = Remark("no test image", "used", 1234, ["class <b>", "class NA"])
    assert "Remarks on the data" not in report(tmp_path, make_card())
    text = " ".join(outline(report(tmp_path, make_card(), remarks=[remark])).words)
    assert "no test image used 1,234 class <b> class NA" in " ".join(text.split())


def test_a_top_5_of_few_classes_is_not_shown(tmp_path: Path) -> None:
    assert "top-5" not in report(tmp_path, make_card(), ranks=(1,))
    assert "top-5" in report(tmp_path, make_card())


def test_without_validation_it_says_what_is_not_there(tmp_path: Path) -> None:
    page = report(tmp_path, make_card(), trust=False)
    assert "The probabilities are as trained" in page
    assert "sure (probability" not in page
    assert "No picture is called unlike the training images" in page


@pytest.mark.slow
def test_the_page_has_the_same_bytes_in_another_place_language_and_time_zone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "another place"
    for folder in (here, there):
        folder.mkdir()
        card = make_card(classes=("älg", "bee", "cat"))
        make_run(folder, card, images=random_images(60, card), labels=np.arange(60) % 3, val=20)
    monkeypatch.chdir(here)
    evaluate.main()
    far = {"LC_ALL": "C", "TZ": "Pacific/Chatham", "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"}
    subprocess.run([sys.executable, "-m", "stages.evaluate"], cwd=there, env=os.environ | far, check=True)
    pages = [(folder / evaluate.REPORT).read_text(encoding="utf-8") for folder in (here, there)]
    assert pages[0] == pages[1]
    assert str(tmp_path) not in pages[0]


def test_a_page_of_large_pictures_and_many_classes_is_under_3_mb(tmp_path: Path) -> None:
    classes = tuple(f"{number:05d} {'long name ' * 8}" for number in range(3000))
    noise = Image.effect_noise((1200, 1200), 200).convert("RGB")
    page = report(tmp_path, make_card(classes=classes), drawn=noise)
    (embedded,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(page) + 2 * len(embedded) < 3_000_000  # of three pictures
    assert "smaller here" in page
    assert "The first 1,000 of 3,000 classes" in " ".join("".join(outline(page).words).split())


def test_a_small_picture_is_embedded_as_it_is(tmp_path: Path) -> None:
    page = report(tmp_path, make_card())
    assert base64.b64encode((tmp_path / "picture.png").read_bytes()).decode() in page
    assert "smaller here" not in page
