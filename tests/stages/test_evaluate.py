"""evaluate: figures by hand, whole tables, the same bytes every time."""

import json
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from imageclf.evaluation.metrics import METRICS
from imageclf.evaluation.mistakes import Mistake, draw_mistakes
from imageclf.models.card import CLASSIFIER, Card
from imageclf.runtime.errors import DataError, Diverged
from imageclf.runtime.files import sha256_of_file, write_sums
from stages import evaluate
from tests.imports import ROOT
from tests.small_run import make_card, make_prepared, make_run, random_images

WRITTEN = (
    "evaluate.json",
    "confusion.csv",
    "per_class.csv",
    "reliability.csv",
    "coverage.csv",
    "predictions.csv",
    "mistakes.png",
    "report.html",
)


class Lookup(nn.Module):
    """Reads its logits off a table: an image's first value is the row."""

    def __init__(self, rows: list[list[float]]) -> None:
        super().__init__()
        self.rows = torch.tensor(rows)

    def forward(self, images: Tensor) -> Tensor:
        return self.rows[images[:, 0, 0, 0].long()]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepare_lookup(
    folder: Path, monkeypatch: pytest.MonkeyPatch, rows: list[list[float]], labels: list[int], val: int = 0
) -> Card:
    """A test split whose image i has the logits rows[i]; validation is the first `val` of it."""
    card = make_card()
    numbers = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    images = numbers * np.ones((1, *card.size, card.channels), np.uint8)
    make_prepared(folder, card, images=images, labels=np.array(labels), val=val)
    weights = folder / CLASSIFIER / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"")  # those of Lookup; the report has their sha256
    monkeypatch.setattr(evaluate, "load_classifier", lambda: (Lookup(rows), card))
    return card


def read_metrics() -> dict[str, object]:
    metrics: dict[str, object] = json.loads(Path("metrics/evaluate.json").read_text())
    return metrics


def test_scores_are_those_worked_out_by_hand(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Probabilities .5 .25 .25, then .25 .5 .25 three times.
    logits = [[np.log(2), 0.0, 0.0]] + 3 * [[0.0, np.log(2), 0.0]]
    prepare_lookup(workspace, monkeypatch, logits, [0, 1, 0, 2])
    closing = evaluate.main()
    assert read_metrics() == dict.fromkeys(METRICS, ANY) | {
        "loss": round((2 * np.log(2) + 2 * np.log(4)) / 4, 6),
        "ece": 0.0,  # all are .5 sure, and half of them right
        "images": 4,
        "top1": 0.5,
        "top1_low": 0.150039,
        "top1_high": 0.849961,
        "per_class": {
            "ant": {"precision": 1.0, "recall": 0.5, "f1": 0.666667},
            "bee": {"precision": 0.333333, "recall": 1.0, "f1": 0.5},
            "cat": {"recall": 0.0, "f1": 0.0},  # never predicted
        },
    }
    assert closing == "test top-1 50.00 %, loss 1.0397"


def test_predictions_name_every_test_image_once_with_its_answer(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_lookup(workspace, monkeypatch, [[9.0, 0.0, 0.0], [0.0, 0.0, 9.0]], [1, 2])
    evaluate.main()
    table = pd.read_csv("metrics/predictions.csv")
    assert list(table.columns) == ["id", "path", "label", "prediction", "confidence", "p_ant", "p_bee", "p_cat"]
    assert table["id"].tolist() == ["test-00000", "test-00001"]
    assert table["label"].tolist() == ["bee", "cat"]
    assert table["prediction"].tolist() == ["ant", "cat"]
    assert table["confidence"].tolist() == pytest.approx([0.999753, 0.999753])


def test_a_perfect_classifier_has_a_sheet_that_says_so(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_lookup(workspace, monkeypatch, [[9.0, 0.0, 0.0]], [0])
    evaluate.main()
    assert Image.open("metrics/mistakes.png").format == "PNG"


@pytest.mark.parametrize(("channels", "size"), [(1, (20, 16)), (3, (16, 16))])
def test_every_byte_is_the_same_for_any_number_of_threads(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, channels: int, size: tuple[int, int]
) -> None:
    card = make_card(channels=channels, size=size)
    make_run(workspace, card, images=random_images(900, card), labels=np.arange(900) % 3, val=300)
    hashes = []
    for threads in (1, 3):
        monkeypatch.setattr(evaluate, "available_cores", lambda threads=threads: threads)
        evaluate.main()
        hashes.append([sha256_of_file(Path("metrics") / name) for name in WRITTEN])
    assert hashes[0] == hashes[1]


def test_the_report_shows_near_copies_only_where_there_are_some(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_lookup(workspace, monkeypatch, [[9.0, 0.0, 0.0]], [0])
    for problem, shown in (("duplicate: same picture as b.jpg", 0), ("near-copy: crop of b.jpg", 1)):
        Path("metrics/data_report.csv").write_text(f"path,problem,action\na.jpg,{problem},used\n")
        evaluate.main()
        assert Path("metrics/report.html").read_text().count("<figcaption>Near-copies</figcaption>") == shown


def test_near_copies_across_splits_and_classes_without_test_images_lead_the_page(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare_lookup(workspace, monkeypatch, [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]], [0, 1])
    words = f"1 of 2 pairs across splits, such as a.png and b.png, {evaluate.TOO_HIGH}"
    lines = [f'all images,"near-copies: {words}",used', "all images,near-copies: only crops are found,used"]
    Path("metrics/data_report.csv").write_text("\n".join(["path,problem,action", *lines]))
    evaluate.main()
    said, page = capsys.readouterr().out, Path("metrics/report.html").read_text()
    assert said.index(f"evaluate: {words}") < said.index("evaluate: cat has no test image, so nothing is known of it")
    assert page.index(words) < page.index("cat has no test image") < page.index("What to try next")
    assert "Note:</strong> only crops" not in page


def test_a_class_called_NA_stays_a_class(workspace: Path) -> None:  # noqa: N802
    card = make_card(classes=("NA", "null"))
    make_run(workspace, card, images=random_images(4, card), labels=np.array([0, 1, 0, 1]))
    evaluate.main()
    table = pd.read_csv("metrics/predictions.csv", keep_default_na=False)
    assert table["label"].tolist() == ["NA", "null", "NA", "null"]
    assert set(read_metrics()["per_class"]) == {"NA", "null"}  # type: ignore[call-overload]


@pytest.mark.parametrize("classes", [2, 5, 6, 20, 21, 31, 101])
def test_what_is_listed_fits_the_number_of_classes(workspace: Path, classes: int) -> None:
    names = ("", "NA", "1e5", *(f"class {number}" for number in range(classes)))[:classes]
    card = make_card(classes=names)
    make_run(workspace, card, images=random_images(1, card), labels=np.array([1]))
    closing = evaluate.main()
    metrics = read_metrics()
    assert ("top5" in metrics) == ("top-5" in closing) == (classes > 5)
    assert ("per_class" in metrics) == (classes <= 20)
    lines = {name: len(Path(f"metrics/{name}.csv").read_text().splitlines()) for name in ("confusion", "per_class")}
    assert lines["per_class"] == 1 + classes
    assert lines["confusion"] == (1 + classes**2 if classes <= 30 else 2)
    assert len(pd.read_csv("metrics/predictions.csv").columns) == 5 + (classes if classes <= 100 else 9)


def test_an_answer_that_is_no_number_is_one_sentence(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_lookup(workspace, monkeypatch, [[float("nan"), 0.0, 0.0]], [0])
    with pytest.raises(Diverged, match="answers with nan"):
        evaluate.main()
    assert not Path("metrics/evaluate.json").exists()


@pytest.mark.parametrize("missing", ["data/prepared/samples.csv", "data/prepared/test_images.npy"])
def test_a_missing_file_is_named(workspace: Path, missing: str) -> None:
    card = make_card()
    make_run(workspace, card, images=random_images(2, card), labels=np.array([0, 1]))
    Path(missing).unlink()
    with pytest.raises(DataError, match=rf"{missing} is missing, or .*SHA256SUMS is damaged"):
        evaluate.main()


def test_without_a_classifier_the_sentence_says_train(workspace: Path) -> None:
    with pytest.raises(DataError, match="run dvc repro train"):
        (workspace / "params.yaml").write_text((ROOT / "params.yaml").read_text())
        evaluate.main()


# Probabilities .5 .25 .25, and .8 .1 .1.
HALF, SURE = [np.log(2), 0.0, 0.0], [np.log(8), 0.0, 0.0]


def test_the_threshold_keeps_the_precision_that_was_asked_for(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_lookup(workspace, monkeypatch, 100 * [SURE] + 100 * [HALF], 150 * [0] + 50 * [1], val=200)
    evaluate.main()
    selective: dict[str, float] = read_metrics()["selective"]  # type: ignore[assignment]
    odds = 8 ** (1 / read_metrics()["calibration"]["temperature"])  # type: ignore[index]
    assert selective["threshold"] == pytest.approx(odds / (odds + 2), abs=1e-5)  # as shipped
    assert (selective["val_coverage"], selective["val_precision"]) == (0.5, 1.0)
    assert (selective["coverage"], selective["precision"]) == (0.5, 1.0)
    assert 0 < selective["precision_low"] < selective["precision_high"] == 1


def test_a_picture_is_unlike_where_its_answer_is_spread_more_widely_than_nearly_all_of_validation(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of 200 images 5 or more are above the limit with a probability of 95 % if 5 % of all are, so 4 may be.
    prepare_lookup(workspace, monkeypatch, 196 * [SURE] + 4 * [HALF] + 6 * [HALF], 206 * [0], val=200)
    evaluate.main()
    unlike: dict[str, float] = read_metrics()["unlike"]  # type: ignore[assignment]
    assert unlike["entropy"] == pytest.approx(-0.8 * np.log(0.8) - 0.2 * np.log(0.1), abs=1e-6)  # of .8 .1 .1
    assert unlike["false_alarms"] == round(10 / 206, 6)
    assert 0 < unlike["false_alarms_low"] < unlike["false_alarms_high"] < 1


def test_the_temperature_comes_from_validation_alone(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Validation: one right of two at odds of 8 to 1 to 1, so it is best to be as unsure as can be of two classes.
    prepare_lookup(workspace, monkeypatch, 60 * [SURE], 20 * [0, 1] + 20 * [0], val=40)
    evaluate.main()
    first: dict[str, float] = read_metrics()["calibration"]  # type: ignore[assignment]
    # p of the first class is 1 / 2 where exp(ln 8 / T) = 2, so T = 3.
    assert first["temperature"] == pytest.approx(3, abs=1e-5)


def test_without_validation_it_says_so_and_the_keys_are_absent(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare_lookup(workspace, monkeypatch, [SURE, HALF], [0, 1])
    evaluate.main()
    assert not {"calibration", "selective"} & set(read_metrics())
    assert capsys.readouterr().out.count("no temperature and no threshold") == 1


def test_a_precision_that_validation_never_reaches_sets_no_threshold(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare_lookup(workspace, monkeypatch, [SURE, HALF], [1, 0], val=2)
    evaluate.main()
    assert "selective" not in read_metrics()
    assert "unlike" not in read_metrics()
    said = capsys.readouterr().out
    assert "evaluate: 2 validation images show no threshold with 95 % correct answers" in said
    assert "evaluate: 2 validation images are too few to tell which pictures are unlike the training images" in said


def test_no_picture_and_no_report_costs_the_scores(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("a < b\nand more")

    prepare_lookup(workspace, monkeypatch, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [0, 0])
    monkeypatch.setattr(evaluate, "draw_mistakes", fail)
    monkeypatch.setattr(evaluate, "render_report", fail)
    evaluate.main()
    said = [line for line in capsys.readouterr().out.splitlines() if line.endswith("; the run goes on")]
    assert [line.split()[0] for line in said] == ["metrics/mistakes.png", "metrics/report.html"]
    assert "a &lt; b" in Path("metrics/report.html").read_text()
    assert read_metrics()["top1"] == 0.5
    assert all(Path("metrics", name).exists() for name in WRITTEN)


def shown_mistakes(monkeypatch: pytest.MonkeyPatch) -> list[Mistake]:
    """What evaluate draws."""
    shown: list[Mistake] = []

    def draw(mistakes: list[Mistake], *, title: str, subtitle: str) -> Image.Image:
        shown.extend(mistakes)
        return draw_mistakes(mistakes, title=title, subtitle=subtitle)

    monkeypatch.setattr(evaluate, "draw_mistakes", draw)
    evaluate.main()
    return shown


def test_each_mistake_has_a_heat_map(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = make_card()
    make_run(workspace, card, images=random_images(9, card), labels=np.arange(9) % 3)
    shown = shown_mistakes(monkeypatch)
    assert shown and all(mistake.heat is not None and mistake.heat.any() for mistake in shown)


def test_without_feature_maps_a_line_says_so_and_the_mistakes_are_drawn(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare_lookup(workspace, monkeypatch, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [1, 0])
    shown = shown_mistakes(monkeypatch)
    assert [mistake.heat for mistake in shown] == [None, None]
    assert capsys.readouterr().out.count("metrics/mistakes.png has no heat maps for cifarnet: ") == 1


def test_mistakes_on_own_images_come_from_their_files_and_one_that_is_gone_is_named(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare_lookup(workspace, monkeypatch, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [1, 0])
    Path("own/tiny/test").mkdir(parents=True)
    Image.new("RGB", (300, 200), "red").save("own/tiny/test/00000.png")
    samples = Path("data/prepared/samples.csv")
    samples.write_text(samples.read_text().replace("00000,b", "00000.png,b").replace("00001,a", "00001.png,a"))
    write_sums(samples.parent)
    rows = [f"0,tiny/test/0000{number}.png,ant,,,1,ab\n" for number in range(2)]
    Path("data/raw").mkdir()
    Path("data/raw/files.csv").write_text("root,path,label,split,group,bytes,sha256\n" + "".join(rows))
    Path("data/raw/dataset.json").write_text(json.dumps({"kind": "files", "roots": ["own"]}))
    first, second = sorted(shown_mistakes(monkeypatch), key=lambda mistake: mistake.name)
    assert first.whole is not None and first.whole.shape == (128, 192, 3)
    assert first.image.shape == (192, 192, 3) and (first.image == (255, 0, 0)).all()
    assert second.whole is None and second.image.shape == (16, 16, 3)
    assert "evaluate: own/tiny/test/00001.png: not there" in capsys.readouterr().out
