"""The choice for a folder: by its images, the weights and the time; what is written, and what is refused."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imageclf.config.params import read_params
from imageclf.runtime.errors import DataError, ParamsError, UserError
from tests.conftest import Project, environment_of
from tests.imports import ROOT
from tools import start
from tools.starting.choice import Beginning, Plan, named_in, plan
from tools.starting.survey import Survey, look_at

TRAINED = Beginning("resnet18", 224, Path("weights.pth"))
NONE = Beginning(None, why_not="there are none")


def survey(images: int, *, side: int, classes: int = 4, test: int = 0) -> Survey:
    each = {f"c{number}": images // classes for number in range(classes)}
    return Survey(
        each,
        given={"test": test} if test else {},
        contradicted={},
        looked_at=images,
        faults={},
        side=side,
        grey=0.0,
        window=None,
        cut_away="",
        left_out=[],
    )


def chosen(found: Plan) -> dict[str, object]:
    return {choice.key: choice.value for choice in found.choices}


@pytest.mark.parametrize(
    ("seen", "beginning", "recipe", "size"),
    [
        (survey(200, side=600), TRAINED, "transfer-frozen", 224),
        (survey(2000, side=600), TRAINED, "transfer", 224),
        (survey(200, side=100), TRAINED, "transfer-frozen", 96),  # what the network enlarges is stored small
        (survey(200, side=600), NONE, "scratch-small", 64),
        (survey(200, side=28), NONE, "scratch-small", 32),
        (survey(60_000, side=28), TRAINED, "cifar10", 32),
        (survey(60_000, side=28, test=59_000), TRAINED, "transfer", 32),  # what is for the test does not count
    ],
)
def test_the_recipe_follows_the_images_and_the_weights(
    seen: Survey, beginning: Beginning, recipe: str, size: int
) -> None:
    found = plan(seen, beginning, budget=math.inf, measure=lambda model, side: 0.001)
    assert (found.recipe, chosen(found)["prepare.size"]) == (recipe, size)
    assert all(choice.reason for choice in found.choices)


def test_too_little_time_leaves_all_layers_and_then_large_images_out() -> None:
    seen = survey(2000, side=600)
    ample = plan(seen, TRAINED, budget=73, measure=lambda model, side: 0.001)
    frozen = plan(seen, TRAINED, budget=71, measure=lambda model, side: 0.001)
    small = plan(seen, TRAINED, budget=1, measure=lambda model, side: 0.001)
    assert [ample.recipe, frozen.recipe, small.recipe] == ["transfer", "transfer-frozen", "transfer-frozen"]
    assert "train.size" not in chosen(frozen)
    assert chosen(small)["train.size"] == chosen(small)["prepare.size"] == 160
    assert small.seconds < frozen.seconds < ample.seconds


def test_published_weights_of_another_network_name_it() -> None:
    found = plan(survey(200, side=600), Beginning("resnet18", 224), budget=1, measure=lambda model, side: 0.001)
    assert chosen(found)["train.model"] == "resnet18"


def test_a_network_made_for_one_size_keeps_it() -> None:
    found = plan(survey(2000, side=600), Beginning("vit_b_16", 224), budget=1, measure=lambda model, side: 0.001)
    assert "train.size" not in chosen(found)


def test_the_network_is_known_by_the_name_of_its_file() -> None:
    assert named_in(Path("w/resnet18-f37072fd.pth")) == "resnet18"
    assert named_in(Path("vgg16_bn-6c64b313.pth")) == "vgg16_bn"
    assert named_in(Path("model.pth")) is None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    draw = np.random.default_rng(0)
    for name, side, count in (("cat", 100, 6), ("dog", 80, 4)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(count):
            pixels = draw.integers(0, 256, (side, side + 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "photos/cat/broken.png").write_bytes((tmp_path / "photos/cat/0.png").read_bytes()[:500])
    for name in ("params.yaml", "recipes"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "_can_reach", lambda url: False)
    monkeypatch.setattr(start, "measured", lambda model, side: 0.001)
    return tmp_path


def test_a_folder_is_seen_as_it_is(folder: Path) -> None:
    found = look_at("photos")
    assert found.classes == {"cat": 7, "dog": 4}
    assert (found.looked_at, found.faults, found.side, found.grey) == (11, {"truncated": ["cat/broken.png"]}, 100, 0.0)
    assert "11 files in 2 classes: cat 7, dog 4" in found.lines()
    assert "1 of them cannot be used: 1 truncated (cat/broken.png)" in found.lines()


def test_files_of_one_content_in_two_classes_are_counted(folder: Path) -> None:
    shutil.copy(folder / "photos/cat/0.png", folder / "photos/dog/cat.png")
    assert look_at("photos").contradicted == {"cat": 1, "dog": 1}


def test_a_class_that_has_only_copies_of_another_s_files_is_named(folder: Path) -> None:
    (folder / "photos/fox").mkdir()
    shutil.copy(folder / "photos/cat/0.png", folder / "photos/fox/0.png")
    told = (
        "2 files are copies of files in other classes, and cannot be used; dvc repro will stop, as they are all of fox"
    )
    assert told in look_at("photos").lines()


def test_weights_of_another_network_are_refused_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"fc.weight": torch.zeros(2, 3)}, folder / "other.pth")
    monkeypatch.setattr("sys.argv", ["start", "photos", "--weights", "other.pth", "--model", "resnet18", "--yes"])
    with pytest.raises(DataError, match=r"other\.pth does not fit train\.model"):
        start.main()


def test_classes_that_no_split_can_share_are_named() -> None:
    found = replace(survey(8, side=100), classes={"oak": 3, "elm": 2, "ash": 1})
    assert (
        "too few images to train, validate and test on: elm, ash; 3 are needed, and 10 or more mean more"
        in found.lines()
    )


def test_twelve_bit_scans_get_a_window_of_twelve_bits(folder: Path) -> None:
    for number, name in enumerate(("cat", "dog")):
        pixels = np.full((40, 40), 307 + 2000 * number, np.uint16)
        pixels[0] = 2991
        (folder / "scans" / name).mkdir(parents=True)
        Image.fromarray(pixels).save(folder / "scans" / name / "1.png")
    assert look_at("scans").window == (0, 4095)


def test_what_it_chooses_is_written_and_dvc_tracks_the_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Project(folder, environment_of(folder))
    for key, value in project.environment.items():
        monkeypatch.setenv(key, value)
    project.run("git", "init", "-q")
    project.run("dvc", "init", "-q")
    monkeypatch.setattr("sys.argv", ["start", "photos", "--yes"])
    start.main()
    printed = capsys.readouterr().out
    params = read_params()
    assert (params.data.name, params.data.path, params.prepare.on_bad) == ("folder", "photos", "drop")
    assert "recipe scratch-small: no pretrained weights" in printed
    assert "cannot be reached: for a much better classifier get that file" in printed
    assert (folder / "photos.dvc").exists()
    start.main()  # again: nothing is in the way

    # Runs in workspaces of their own see weights that DVC or git tracks.
    (folder / "own.pth").write_bytes(b"weights")
    for _ in range(2):
        start._track("own.pth")
    assert (folder / "own.pth.dvc").exists()
    assert capsys.readouterr().out.count("own.pth.dvc is written: DVC tracks own.pth, ") == 1


def test_a_dry_run_writes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / "params.yaml").read_text()
    monkeypatch.setattr("sys.argv", ["start", "photos", "--dry-run"])
    start.main()
    assert (folder / "params.yaml").read_text() == before
    assert not (folder / "photos.dvc").exists()


def test_without_a_terminal_it_fails_and_writes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / "params.yaml").read_text()
    monkeypatch.setattr("sys.argv", ["start", "photos"])
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: SIM115, PTH123
    with pytest.raises(ParamsError, match="no terminal to ask on, so nothing is written; add --yes to write"):
        start.main()
    assert (folder / "params.yaml").read_text() == before
    assert not (folder / "photos.dvc").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere is not a folder; give one with a sub-folder for each class"),
        (["photos", "--weights", "none.pth"], "none.pth is not there, or not a file"),
        (["photos", "--weights", "params.yaml"], "params.yaml does not name its network; add --model NAME"),
        (["photos", "--weights", "params.yaml", "--model", "resnet81"], "--model is 'resnet81'"),
        (
            ["photos", "--weights", "params.yaml", "--model", "resnet18"],
            "params.yaml is neither a safetensors file nor",
        ),
        (
            ["texts"],
            "none of 2 files can be used: 2 not a picture (ant/notes.jpg, bee/notes.jpg); give a folder of pictures",
        ),
        (["photos", "--model", "cifarnet"], "--model cifarnet needs --weights"),
    ],
)
def test_a_mistake_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    for name in ("ant", "bee"):
        (folder / "texts" / name).mkdir(parents=True)
        (folder / "texts" / name / "notes.jpg").write_text(f"about the {name}")
    monkeypatch.setattr("sys.argv", ["start", *arguments, "--yes"])
    with pytest.raises(UserError) as refused:
        start.main()
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
