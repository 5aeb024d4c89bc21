"""predict: an answer for every picture that can be read, a sentence for every one that cannot."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from imageclf.runtime.errors import DataError
from imageclf.runtime.files import write_sums
from tests.imports import ROOT
from tools import predict

SIZE = (8, 12)
NO_THRESHOLD = "no answer is marked as unsure: this classifier has no threshold (evaluate.target_precision)"
NO_LIMIT = "no picture is called unlike the training images: this classifier had too few validation images"


def write_model(path: Path, *, channels: int = 3, threshold: float | None = None, **more: object) -> Path:
    """A classifier made by hand: the fraction of each channel in a picture; grey: dark or bright."""
    names = ["red", "green", "blue"] if channels == 3 else ["dark", "bright"]
    weights = np.eye(3) if channels == 3 else np.array([[-1.0, 1.0]])
    bias = np.zeros(3) if channels == 3 else np.array([255.0, 0.0])
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("Gemm", ["means", "weights", "bias"], ["scores"]),
        helper.make_node("ReduceSum", ["scores", "last"], ["sums"], keepdims=1),
        helper.make_node("Div", ["scores", "sums"], ["probabilities"]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("last", TensorProto.INT64, [1], [1]),
        helper.make_tensor("weights", TensorProto.FLOAT, weights.shape, weights.ravel()),
        helper.make_tensor("bias", TensorProto.FLOAT, bias.shape, bias),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", *SIZE, channels])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(names)])
    graph = helper.make_graph(nodes, "shares", [images], [probabilities], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    facts: dict[str, object] = {"classes": names, "size": SIZE, "channels": channels} | more
    facts |= {} if threshold is None else {"threshold": threshold}
    helper.set_model_props(model, {"classifier": json.dumps(facts)})
    onnx.save(model, path)
    return path


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("models/export").mkdir(parents=True)
    write_model(Path("models/export/classifier.onnx"))
    return tmp_path


def paint(path: str, colour: tuple[int, ...] = (200, 50, 0), size: tuple[int, int] = (60, 40)) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def ask(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of predict with these arguments."""
    monkeypatch.setattr(sys, "argv", ["predict", *arguments])
    try:
        predict.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # Python's own, which a program on its own may give up
    return 0


def test_a_line_gives_path_class_and_probability(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(monkeypatch, paint("a.png"), paint("longer.png", (0, 0, 9))) == 0
    assert capsys.readouterr().out == "a.png       red    80.0 %\nlonger.png  blue  100.0 %\n"


def test_top_names_the_next_best_classes_and_stops_at_the_last(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(monkeypatch, paint("a.png"), "--top", "9")
    assert capsys.readouterr().out.split() == ["a.png", "red", "80.0", "%", "green", "20.0", "%", "blue", "0.0", "%"]


def test_json_gives_an_object_a_line(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(monkeypatch, paint("a.png"), "--json", "--top", "2")
    answers = [{"class": "red", "probability": 0.8}, {"class": "green", "probability": 0.2}]
    assert json.loads(capsys.readouterr().out) == {"path": "a.png", "answers": answers}


def test_csv_has_a_header_and_a_row_a_picture(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(write_model(Path("careful.onnx"), threshold=0.9))
    ask(monkeypatch, paint("a,b.png"), paint("c.png", (0, 0, 9)), "--csv", "--top", "2", "--model", model)
    assert list(csv.reader(capsys.readouterr().out.splitlines())) == [
        ["path", "class", "probability", "class2", "probability2", "unsure", "unlike"],
        ["a,b.png", "red", "0.800000", "green", "0.200000", "yes", ""],
        ["c.png", "blue", "1.000000", "red", "0.000000", "no", ""],
    ]


def test_paths_come_from_a_list_too(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("list").write_text(f"{paint('a b.png')}\n\n{paint('c.png', (0, 0, 9))}\r\nmissing.png\n")
    assert ask(monkeypatch, "--files-from", "list") == DataError.exit_code
    printed = capsys.readouterr()
    assert printed.out.split() == ["a", "b.png", "red", "80.0", "%", "c.png", "blue", "100.0", "%"]
    assert printed.err.startswith("missing.png")
    with pytest.raises(DataError, match="nowhere cannot be read as a list of paths"):
        ask(monkeypatch, "--files-from", "nowhere")
    assert ask(monkeypatch) == 2


def test_a_list_can_come_through_a_pipe(workspace: Path) -> None:
    command = [sys.executable, "-m", "tools.predict", "--files-from", "-"]
    done = subprocess.run(
        command, input=f"{paint('a.png')}\n", env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.stdout.startswith("a.png")


@pytest.mark.parametrize(("content", "said"), [(b"", "an empty list"), (b"\xff\xd8\0", "not a list of paths")])
def test_what_is_no_list_of_paths_is_named(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str
) -> None:
    Path("list").write_bytes(content)
    with pytest.raises(DataError, match=said):
        ask(monkeypatch, "--files-from", "list")


@pytest.mark.parametrize(("asked", "unknown"), [("90", False), ("91", True), ("95", True)])
def test_an_answer_that_is_too_rarely_right_is_unknown(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], asked: str, *, unknown: bool
) -> None:
    write_model(predict.MODEL, thresholds={"90": 0.8, "95": 0.9})
    ask(monkeypatch, paint("a.png"), "--min-precision", asked)
    assert capsys.readouterr().out == ("a.png  unknown  80.0 %\n" if unknown else "a.png  red    80.0 %\n")
    ask(monkeypatch, "a.png", "--min-precision", asked, "--json")
    assert json.loads(capsys.readouterr().out)["unknown"] is unknown
    ask(monkeypatch, "a.png", "--min-precision", asked, "--csv")
    assert capsys.readouterr().out.endswith(",yes\n" if unknown else ",no\n")
    with pytest.raises(DataError, match=r"--min-precision is 99, and .* it can be 90 or 95"):
        ask(monkeypatch, "a.png", "--min-precision", "99")


@pytest.mark.parametrize(("threshold", "unsure"), [(0.79, False), (0.800001, True)])
def test_below_the_threshold_that_the_file_carries_it_is_unsure(
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    threshold: float,
    unsure: bool,
) -> None:
    model = str(write_model(Path("careful.onnx"), threshold=threshold))
    ask(monkeypatch, paint("a.png"), "--model", model)
    assert ("(unsure)" in capsys.readouterr().out) == unsure
    ask(monkeypatch, paint("a.png"), "--model", model, "--json")
    assert json.loads(capsys.readouterr().out)["unsure"] is unsure


@pytest.mark.parametrize(("limit", "unlike"), [(0.5005, False), (0.5003, True)])
def test_above_the_entropy_that_the_file_carries_it_is_unlike_the_training_images(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], limit: float, *, unlike: bool
) -> None:
    # -0.8 log 0.8 - 0.2 log 0.2 = 0.5004; the third class has the probability 0.
    model = str(write_model(Path("careful.onnx"), threshold=0.9, thresholds={"90": 0.9}, unlike_entropy=limit))
    words = "(unlike the training images)" if unlike else "(unsure)"
    ask(monkeypatch, paint("a.png"), "--model", model)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (f"a.png  red    80.0 %  {words}\n", "")
    ask(monkeypatch, "a.png", "--model", model, "--json")
    assert json.loads(capsys.readouterr().out)["unlike"] is unlike
    ask(monkeypatch, "a.png", "--model", model, "--csv", "--min-precision", "90")
    assert capsys.readouterr().out.endswith(",yes,yes,yes\n" if unlike else ",yes,no,yes\n")
    ask(monkeypatch, "a.png", "--model", model, "--min-precision", "90")
    assert capsys.readouterr().out == "a.png  unknown  80.0 %" + (f"  {words}\n" if unlike else "\n")


def test_a_grey_classifier_sees_colour_pictures_in_grey(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(write_model(Path("grey.onnx"), channels=1))
    ask(monkeypatch, paint("a.png", (255, 255, 255)), "--model", model)
    assert capsys.readouterr().out.split() == ["a.png", "bright", "100.0", "%"]


def test_a_folder_stands_for_its_pictures_sorted(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("photos/b.png", "photos/sub/a.jpg", "photos/a.png"):
        paint(name)
    Path("photos/notes.txt").write_text("none")
    assert ask(monkeypatch, "photos") == 0
    shown = capsys.readouterr()
    assert [line.split()[0] for line in shown.out.splitlines()] == ["photos/a.png", "photos/b.png", "photos/sub/a.jpg"]
    assert shown.err.splitlines() == [
        "photos: skipped notes.txt: not a picture but text; take it out",
        NO_THRESHOLD,
        NO_LIMIT,
    ]


def test_a_folder_says_why_it_passes_over_files(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("scans").mkdir()
    for number in range(4):
        Path(f"scans/{number}.dcm").write_bytes(bytes(128) + b"DICM")
    Path("scans/old.png").symlink_to("gone.png")
    assert ask(monkeypatch, "scans") == 3
    assert capsys.readouterr().err.splitlines() == [
        "scans: skipped 0.dcm, 1.dcm, 2.dcm, ... (4 in all): DICOM cannot be read; convert it to 16-bit PNG, with "
        "pydicom or dicom2jpg say, and set prepare.window",
        "scans: skipped old.png: a link that leads nowhere",
        "scans: no pictures in this folder; check the path",
    ]


def test_pictures_that_are_dark_cut_or_tiny_are_remarked(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(write_model(Path("grey.onnx"), channels=1, threshold=0.5, unlike_entropy=0.5))
    Path("photos").mkdir()
    Image.fromarray(np.full((6, 9), 4000, np.uint16)).save("photos/flat.png")
    paint("photos/wide.png", size=(300, 50))
    paint("photos/right.png", size=(60, 40))
    ask(monkeypatch, "photos", "--model", model, "--json")
    assert capsys.readouterr().err.splitlines() == [
        "cut away: 1 of 3 pictures lose 75 % of their area, as only their middle is kept; where the rest counts, set "
        "prepare.fit to pad or stretch, and train again",
        "tiny: 1 of 3 pictures have a side under 8 pixels; their answers mean little",
    ]
    Image.fromarray(np.linspace(0, 4095, 600).astype(np.uint16).reshape(20, 30)).save("twelve.png")
    ask(monkeypatch, "twelve.png", "--model", model)
    assert capsys.readouterr().err.startswith("narrow range: 1 of 1 16-bit pictures have values from ")


def test_many_pictures_are_each_answered_in_order(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    for number in range(150):
        paint(f"photos/{number:03d}.png", colours[number % 3], (5, 5))
    ask(monkeypatch, "photos")
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["red", "green", "blue"] * 50


def test_bad_files_are_named_and_good_ones_answered_all_the_same(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("cat.jpg").write_text("I am no cat")
    Path("cut.png").write_bytes(Path(paint("whole.png")).read_bytes()[:60])
    assert ask(monkeypatch, "cat.jpg", paint("good.png"), "cut.png", "gone.png") == 3
    shown = capsys.readouterr()
    assert shown.out == "good.png  red    80.0 %\n"
    *faults, first, second = shown.err.splitlines()
    assert [line.split(":")[0] for line in faults] == ["cat.jpg", "cut.png", "gone.png"]
    assert [first, second] == [NO_THRESHOLD, NO_LIMIT]


def test_a_folder_without_pictures_is_named(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    assert ask(monkeypatch, "empty") == 3
    assert capsys.readouterr().err == "empty: no pictures in this folder; check the path\n"


def test_a_name_with_a_line_end_stays_on_its_line(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(monkeypatch, paint("a\nb.png"))
    assert capsys.readouterr().out == "a\\nb.png  red    80.0 %\n"


def test_without_a_model_the_sentence_says_export(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("models/export/classifier.onnx").unlink()
    with pytest.raises(DataError, match=r"models/export/classifier\.onnx is missing; run dvc repro export"):
        ask(monkeypatch, paint("a.png"))


def test_a_damaged_export_is_named_before_it_answers(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sums(Path("models/export"))
    assert ask(monkeypatch, paint("a.png")) == 0
    content = bytearray(Path("models/export/classifier.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    Path("models/export/classifier.onnx").write_bytes(content)
    with pytest.raises(DataError, match=r"models/export/classifier\.onnx is damaged"):
        ask(monkeypatch, "a.png")


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x08"])
def test_a_file_that_is_no_classifier_is_one_sentence(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    Path("other.onnx").write_bytes(content)
    with pytest.raises(DataError, match=r"other\.onnx is damaged or was not written by export"):
        ask(monkeypatch, paint("a.png"), "--model", "other.onnx")


@pytest.mark.parametrize("location", ["secret.bin", "../secret.bin", "/etc/passwd"])
def test_a_model_that_names_other_files_is_refused(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    Path("secret.bin").write_bytes(bytes(1000))
    model = onnx.load("models/export/classifier.onnx")
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "weights")
    weights.ClearField("float_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("length", "36")):
        weights.external_data.add(key=key, value=value)
    Path("other.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match=r"other\.onnx is damaged or was not written by export"):
        ask(monkeypatch, paint("a.png"), "--model", "other.onnx")


@pytest.mark.parametrize("arguments", [[], ["a.png", "--top", "0"], ["a.png", "--top", "x"], [""], ["--wrong"]])
def test_wrong_arguments_show_the_usage(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert ask(monkeypatch, *arguments) == 2
    assert capsys.readouterr().err.startswith("usage: python -m tools.predict")


def test_as_a_command_it_ends_with_its_sentence_and_code(workspace: Path) -> None:
    command = [sys.executable, "-m", "tools.predict", "gone.png", "--model", "nowhere.onnx"]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "nowhere.onnx is missing; run dvc repro export\n")


def test_it_does_without_the_libraries_that_are_slow_to_start() -> None:
    script = (
        "import sys, tools.predict; print({'torch', 'pandas', 'onnx', 'torchvision', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
