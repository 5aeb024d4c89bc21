"""params.yaml is checked as a whole: the right passes, the wrong is named in one sentence."""

from itertools import pairwise
from pathlib import Path

import pytest

from imageclf.config.params import Params, read_params
from imageclf.runtime.errors import ParamsError
from tests.imports import ROOT

SHIPPED = (ROOT / "params.yaml").read_text()


def read_changed(folder: Path, old: str, new: str) -> Params:
    assert SHIPPED.count(old) == 1, old
    (folder / "params.yaml").write_text(SHIPPED.replace(old, new))
    return read_params(folder / "params.yaml")


@pytest.mark.parametrize(
    ("text", "number"),
    [("3e-5", 3e-5), ("1e-05", 1e-5), ("1", 1.0), (".5", 0.5), ("1.", 1.0), ("+0.1", 0.1), ("1E2", 100.0)],
)
def test_a_number_is_read_as_yaml_1_2_has_it(tmp_path: Path, text: str, number: float) -> None:
    assert read_changed(tmp_path, "  weight_decay: auto", f"  weight_decay: {text}\n  #").train.weight_decay == number


def test_a_leading_zero_is_decimal(tmp_path: Path) -> None:
    assert read_changed(tmp_path, "log_every: 10 ", "log_every: 010 ").runtime.log_every == 10


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("  loss: cross_entropy ", "  loss: fast ", "train.loss is 'fast'; it can be cross_entropy, mse or l1"),
        ("optimizer: auto", "optimizer: sgdd", "(did you mean sgd?)"),
        (
            "  batch_size: ",
            "  batch_sice: 3\n  batch_size: ",
            "unknown key train.batch_sice (did you mean train.batch_size?)",
        ),
        ("  batch_size: ", "  device: cuda\n  batch_size: ", "unknown key train.device (did you mean runtime.device?)"),
        ("batch_size: auto", "batch_size: -5", "train.batch_size is -5; it can be auto or a whole number from 1"),
        ("  epochs: ", "  epochs: 1.5 #", "train.epochs is 1.5; it must be a whole number"),
        ("  epochs: ", "  epochs: true #", "train.epochs is True; it must be a whole number"),
        ("  epochs: ", "  epochs: 0 #", "train.epochs is 0; it must be at least 1"),
        ("  nesterov: true", "  nesterov: yes", "train.nesterov is 'yes'; it must be true or false"),
        ("  weight_decay: ", "  weight_decay: abc #", "train.weight_decay is 'abc'; it can be auto or a number from 0"),
        (
            "  weight_decay: ",
            "  weight_decay: '1e-3' #",
            "train.weight_decay is '1e-3'; it can be auto or a number from 0",
        ),
        ("  weight_decay: ", "  weight_decay: .nan #", "train.weight_decay is nan; it can be auto or a number from 0"),
        ("  weight_decay: ", "  weight_decay: .inf #", "train.weight_decay is inf; it can be auto or a number from 0"),
        ("  weight_decay: ", "  weight_decay: null #", "train.weight_decay is None; it can be auto or a number from 0"),
        ("  weight_decay: ", "  #", "train.weight_decay is missing"),
        ("  shards: auto", "  shards: 3", "train.shards is 3; it must be a power of two, or auto"),
        (
            "  weights: data/none",
            "  weights: ./models/classifier/weights.safetensors",
            "copy the file to another folder",
        ),
        ("  weights: data/none", "  weights: metrics/x.pth #", "train.weights is metrics/x.pth, in a folder that the"),
        ("  lr: auto", "  lr: 0", "train.lr is 0; it can be auto or a number above 0"),
        ("  momentum: auto", "  momentum: 1", "train.momentum is 1; it can be auto or a number from 0, below 1"),
        ("  freeze_epochs: auto", "  freeze_epochs: 9", "freeze_epochs is 9, and epochs 9; lower it, or set freeze to"),
        ("  layer_decay: 1.0", "  layer_decay: 1.5", "train.layer_decay is 1.5; it must be at most 1"),
        ("  val_fraction: 0.1", "  val_fraction: 1.0", "prepare.val_fraction is 1.0; it must be below 1"),
        ("  path: data/none ", '  path: "" ', "data.path is ''; it must be a word"),
        ("  path: data/none ", "  path: ~/cats ", "data.path is '~/cats'; DVC does not know ~; write out the path of"),
        ("  also: data/none ", "  also: ~me/cats ", "data.also is '~me/cats'; DVC does not know ~; write out"),
        ("  weights: data/none", "  weights: ~/a.pth #", "train.weights is '~/a.pth'; DVC does not know ~; write out"),
        ("device: auto", "device: cuda:256", "runtime.device is 'cuda:256'; it can be auto, cpu, cuda, cuda:N or mps"),
        ("processes: auto", "processes: 3", "runtime.processes is 3; it must be a power of two, or auto"),
        ("device: auto", "device: gpu", "runtime.device is 'gpu'; it can be auto, cpu, cuda, cuda:N or mps"),
        ("    flip: alternate", "    flip: 3", "train.augment.flip is 3; it can be none, random or alternate"),
        ("crop_scale: 1.0", "crop_scale: 0", "train.augment.crop_scale is 0; it must be above 0"),
        ("crop_scale: 1.0", "crop_scale: 1.5", "train.augment.crop_scale is 1.5; it must be at most 1"),
        ("    color: 0.0", "    color: -1", "train.augment.color is -1; it must be at least 0"),
        ("erasing: 0.0", "erasing: 2", "train.augment.erasing is 2; it must be at most 1"),
        ("mixup: 0.0", "mixup: -0.1", "train.augment.mixup is -0.1; it must be at least 0"),
        ("cutmix: 0.0", "cutmix: on", "train.augment.cutmix is 'on'; it must be a number"),
        ("sampling: shuffled ", "sampling: equal ", "train.sampling is 'equal'; it can be shuffled or balanced"),
        ("class_weights: none ", "class_weights: true ", "train.class_weights is True; it can be none or balanced"),
        ("clip_norm: 0.0", "clip_norm: -1", "train.clip_norm is -1; it must be at least 0"),
        ("  ema: 0.0", "  ema: 1.0", "train.ema is 1.0; it must be below 1"),
        ("keep: last ", "keep: first ", "train.keep is 'first'; it can be last or best"),
        ("patience: 0", "patience: 1.5", "train.patience is 1.5; it must be a whole number"),
        (
            "hard_fraction: auto",
            "hard_fraction: 0",
            "train.hard_fraction is 0; it can be auto or a number above 0, up to 1",
        ),
        ("hard_fraction: auto", "hard_fraction: half", "train.hard_fraction is 'half'; it can be auto"),
        ("hard_after: 1", "hard_after: 0", "train.hard_after is 0; it must be at least 1"),
        ("export:", "exports:", "unknown key exports (did you mean export?)"),
        (
            "formats: [onnx]",
            "formats: [onnx, pt3]",
            "export.formats is 'pt3'; it can be demo, int8, litert, onnx or pt2 (did you",
        ),
        (
            "formats: [onnx]",
            "formats: onnx",
            "export.formats is 'onnx'; it must be a list in brackets, of demo, int8, litert, onnx",
        ),
        ("  epochs: ", "  epochs: 3\n  epochs: ", "'epochs' is given twice"),
        ("train:", "train: [", "params.yaml: line"),
        ("name: cifar10 ", "name: !!python/object:os.system ", "params.yaml: line"),
        ("name: cifar10 ", "name: &a cifar10 ", "line 4: &a is a YAML anchor; put the value in quotes"),
        ("name: cifar10 ", "name: *a ", "line 4: *a is a YAML alias"),
        ("name: cifar10 ", "name: *.jpg ", "line 4: *.jpg is a YAML alias; put the value in quotes"),
        ("name: cifar10 ", "name: & ", "line 4: a value that begins with & needs quotes"),
        ("name: cifar10 ", "name: %HOME% ", "line 4: a value that begins with % needs quotes"),
        ("name: cifar10 ", "name: @home ", "line 4: a value that begins with @ needs quotes"),
        ("name: cifar10 ", "name: a: b ", "line 4: a value that contains a colon and a space needs quotes"),
        ("name: cifar10 ", 'name: "C:\\photos" ', "line 4: a backslash is special between double quotes"),
        ("name: cifar10 ", "name: !important ", "line 4: could not determine a constructor for the tag '!important'"),
        ("name: cifar10 ", "name: cifar\0 ", "line 4 has the character U+0000"),
        ("  name: cifar10 ", "\tname: cifar10 ", "line 4: there is a tab"),
        ("  epochs: ", "<<<<<<< HEAD\n  epochs: ", "is a merge conflict marker"),
        ("  epochs: ", "---\n  epochs: ", "--- begins a second document"),
        ("  epochs: 9", f"  epochs: {'9' * 5000}", "a number has too many digits"),
        ("data:", f"deep: {'[' * 5000}\ndata:", "nested too deeply"),
        ("data:", "[a]: b\ndata:", "line 3: a key must be a word"),
        ("data:", "1: b\ndata:", "line 3: a key must be a word"),
        ("data:", "data.path: b\ndata:", "unknown key data.path"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    with pytest.raises(ParamsError) as raised:
        read_changed(tmp_path, old, new)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"epochs: 9": "epochs: 0", "  lr: auto": "  lr: x"},
            "train.epochs is 0; it must be at least 1; train.lr is wrong too",
        ),
        (
            {"loss: cross": "losss: cross", "  lr: auto": "  lr: x", "device: auto": "device: gpu"},
            "(did you mean train.loss?); rename or remove it; train.lr, runtime.device are wrong too",
        ),
        (
            {
                "loss: cross_entropy ": "loss: mse ",
                "mixup: 0.0": "mixup: 0.2",
            },
            "train.augment.mixup needs loss cross_entropy, not mse; set it to 0",
        ),
        (
            {
                "loss: cross_entropy ": "loss: l1 ",
                "cutmix: 0.0": "cutmix: 1",
            },
            "train.augment.cutmix needs loss cross_entropy, not l1; set it to 0",
        ),
        (
            {"hard_fraction: auto": "hard_fraction: 0.5", "cutmix: 0.0": "cutmix: 1"},
            "train.augment.cutmix mixes images that hard_fraction must rank one by one; set hard_fraction to auto",
        ),
        (
            {"hard_fraction: auto": "hard_fraction: 0.5", "sampling: shuffled ": "sampling: balanced "},
            "train.hard_fraction needs sampling shuffled, not balanced; set it to auto",
        ),
        (
            {"batch_size: auto": "batch_size: 64", "shards: auto": "shards: 64", "mixup: 0.0": "mixup: 0.2"},
            "train.augment.mixup mixes the images of a shard, and a batch_size of 64 has shards of one",
        ),
        (
            {"batch_size: auto": "batch_size: 3", "cutmix: 0.0": "cutmix: 0.2"},
            "train.augment.cutmix mixes the images of a shard, and a batch_size of 3 has shards of one",
        ),
        (
            {"batch_size: auto": "batch_size: 512", "shards: auto": "shards: 1024"},
            "train.shards is 1024, more than batch_size 512; lower it",
        ),
        (
            {"label_smoothing: auto": "label_smoothing: 0.1", "loss: cross_entropy ": "loss: mse "},
            "label_smoothing needs loss cross_entropy, not mse; set it to auto",
        ),
        (
            {"freeze: none": "freeze: backbone", "freeze_epochs: auto": "freeze_epochs: 2"},
            "freeze_epochs is 2, and freeze is backbone throughout; reset one",
        ),
        (
            {"class_weights: none": "class_weights: balanced", "sampling: shuffled": "sampling: balanced"},
            "train.class_weights and sampling are both balanced",
        ),
    ],
)
def test_what_does_not_go_together_is_named(tmp_path: Path, changes: dict[str, str], sentence: str) -> None:
    text = SHIPPED
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError) as raised:
        read_params(tmp_path / "params.yaml")
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["cats & dogs", "a*b", "100%", "tom's"])
def test_a_sign_within_a_value_or_a_comment_is_a_letter(tmp_path: Path, name: str) -> None:
    read = read_changed(tmp_path, "  path: data/none ", f"  # lr & *momentum, &a\n  path: {name} ")
    assert read.data.path == name


@pytest.mark.parametrize("text", ["\ufeff" + SHIPPED, SHIPPED.replace("\n", "\r\n"), f"%YAML 1.2\n---\n{SHIPPED}"])
def test_what_editors_do_to_a_file_changes_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_bytes(text.encode())
    assert read_params(tmp_path / "params.yaml") == read_params(ROOT / "params.yaml")


@pytest.mark.parametrize(("text", "words"), [("", "is empty"), ("# only\n", "no sections"), ("word\n", "no sections")])
def test_a_file_without_sections_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=rf"params\.yaml.* {words}"):
        read_params(tmp_path / "params.yaml")


def test_a_bomb_of_aliases_is_refused_at_its_first_anchor(tmp_path: Path) -> None:
    letters = "abcdefghijklmnop"
    lines = [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in pairwise(letters)]
    (tmp_path / "params.yaml").write_text("\n".join(["a: &a [lol]", *lines]))
    with pytest.raises(ParamsError, match=r"params\.yaml: line 1: &a is a YAML anchor"):
        read_params(tmp_path / "params.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"params\.yaml is missing"):
        read_params(tmp_path / "params.yaml")


def test_a_file_of_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParamsError, match="not UTF-8"):
        read_params(tmp_path / "params.yaml")
