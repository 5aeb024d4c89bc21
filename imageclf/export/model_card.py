"""The model card: README.md beside an exported classifier."""

import html
from collections.abc import Mapping
from typing import Any

from imageclf.images.decode import FILTER, GAP, GREY, LARGEST, SIXTEEN_BITS
from imageclf.models.card import Card

CLASSES_SHOWN = 20


def model_card(card: Card, *, test: Mapping[str, Any], exports: Mapping[str, Mapping[str, Any]], pictures: str) -> str:
    """The model card in Markdown. `test` are the trained model's scores, `exports` those of each exported file."""
    height, width = card.size
    count = len(card.classes)
    shown = ", ".join(_plain(name) for name in card.classes[:CLASSES_SHOWN])
    more = f" and {count - CLASSES_SHOWN} more" if count > CLASSES_SHOWN else ""
    return f"""# {_plain(card.model)}, trained on {_plain(card.data)}

An image classifier with {count} classes: {shown}{more}.

{_score_rows(test, _plain(card.data))}

| file | size | top-1 | same prediction as the trained model |
|---|---|---|---|
{_file_rows(exports)}

## In and out
- In: `images`, uint8 (N, {height}, {width}, {card.channels}), {_channel_words(card.channels)} from 0 to 255, N from 1.
  Scaling and normalisation are inside{_flip_words(card)}.
- Out: `probabilities`, float32 (N, {count}), in the order of `labels.txt`. They sum to 1.{_doubt_words(test)}
- Preprocessing of pictures of any size and format: {pictures}.{_window_words(card)}
- `classifier.json` has the class names, the size, the threshold and where the classifier comes from. The same text is
  in the ONNX file's metadata, under `classifier`.

## Use
```python
{_snippet(card)}
```

The ONNX file gives the same answers elsewhere. In JavaScript, where `pixels` is a Uint8Array of one picture, row by
row:
```js
const ort = require("onnxruntime-node"); // onnxruntime-web in a browser
const session = await ort.InferenceSession.create("classifier.onnx");
const images = new ort.Tensor("uint8", pixels, [1, {height}, {width}, {card.channels}]);
const {{ probabilities }} = await session.run({{ images }});
```
In OpenVINO, which computes less exactly unless it is told to use f32:
```python
import openvino
model = openvino.compile_model("classifier.onnx", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})
probabilities = model({{"images": images}})["probabilities"]
```
In C# (not tried):
```csharp
using var session = new InferenceSession("classifier.onnx");
var images = new DenseTensor<byte>(pixels, new[] {{ 1, {height}, {width}, {card.channels} }});
using var answers = session.Run(new[] {{ NamedOnnxValue.CreateFromTensor("images", images) }});
var probabilities = answers.First().AsEnumerable<float>().ToArray();
```
{_program_words(exports)}{_litert_words(exports)}
## Made by
{_trained_with(card)}
"""


def _score_rows(test: Mapping[str, Any], data: str) -> str:
    fractions = {name: test[key] for key, name in (("top1", "top-1"), ("top5", "top-5")) if key in test}
    scores = {name: f"{100 * fraction:.2f} %" for name, fraction in fractions.items()} | {"loss": f"{test['loss']:.4f}"}
    return "\n".join(
        [
            f"| on the test split of {data} | {' | '.join(scores)} |",
            f"|---|{'---|' * len(scores)}",
            f"| trained model | {' | '.join(scores.values())} |",
            "",
            f"On {test['images']:,} test images, so that top-1 on others is between {100 * test['top1_low']:.1f} and "
            f"{100 * test['top1_high']:.1f} % (95 % interval).",
        ]
    )


def _file_rows(exports: Mapping[str, Mapping[str, Any]]) -> str:
    return "\n".join(
        f"| {name} | {report['bytes'] / 1e6:.1f} MB | {100 * report['top1']:.2f} % "
        f"| {report['same']:,} of {report['images']:,} images |"
        for name, report in sorted(exports.items())
    )


def _program_words(exports: Mapping[str, Mapping[str, Any]]) -> str:
    if "classifier.pt2" not in exports:
        return ""
    return """
The .pt2 file runs in PyTorch: `torch.export.load("classifier.pt2").module()(images)` with a uint8 tensor. Loading one
may run code that it contains, so load only files that you trust.
"""


def _litert_words(exports: Mapping[str, Mapping[str, Any]]) -> str:
    if "classifier.tflite" not in exports:
        return ""
    return """
The .tflite file takes one picture at a time: images (1, H, W, C). With `ai-edge-litert` in Python:
```python
from ai_edge_litert.interpreter import Interpreter
classifier = Interpreter("classifier.tflite").get_signature_runner()
probabilities = classifier(args_0=images)["output_0"]
```
"""


def _channel_words(channels: int) -> str:
    return "RGB" if channels == 3 else "grey"


def _flip_words(card: Card) -> str:
    return "; with test-time flip, the answer is the mean over each image and its mirror image" if card.tta_flip else ""


def _window_words(card: Card) -> str:
    return f" The window is {card.window}: these values become black and white." if card.window else ""


def _threshold_words(test: Mapping[str, Any]) -> str:
    if "selective" not in test:
        return ""
    chosen = test["selective"]
    words = (
        f"\n  An answer below {chosen['threshold']:g} counts as unsure. {100 * chosen['coverage']:.1f} % of the test "
    )
    words += "images are at or above this threshold"
    return (
        f"{words}, and {100 * chosen['precision']:.1f} % of their answers are correct."
        if "precision" in chosen
        else f"{words}."
    )


def _unlike_words(test: Mapping[str, Any]) -> str:
    if "unlike" not in test:
        return ""
    unlike = test["unlike"]
    return (
        f"\n  Above an entropy of {unlike['entropy']:g} (the sum of -p log p, in nats) a picture counts as unlike the "
        f"training\n  images, as {100 * unlike['false_alarms']:.1f} % of the test images are."
    )


def _doubt_words(test: Mapping[str, Any]) -> str:
    return _threshold_words(test) + _unlike_words(test)


def _snippet(card: Card) -> str:
    """A short form of `imageclf.images.decode`. `card.size` is square: prepare makes square images."""
    side, _ = card.size
    low, high = card.window or (0, SIXTEEN_BITS)
    grey, pixels = ("", "[None]") if card.channels == 3 else ('.convert("L")', "[None, ..., None]")
    return f"""from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

Image.MAX_IMAGE_PIXELS = None  # read counts the pixels that are decoded


def read(path):
    picture = Image.open(path)
    drafted = picture.draft(None, ({side}, {side}))  # decode a large JPEG at a smaller scale
    if picture.width * picture.height > {LARGEST}:
        raise ValueError(f"{{path}} has too many pixels")
    picture.load()
    width, height = drafted[1][2:] if drafted else picture.size
    turned = picture.getexif().get(0x112)  # EXIF orientation
    if picture.mode.startswith("I"):  # 16-bit grey: {low} becomes black and {high} white
        values = np.asarray(picture).astype(np.int32).clip({low}, {high}) - {low}
        picture = Image.fromarray(((values * 255 + {(high - low) // 2}) // {high - low}).astype(np.uint8))
    elif picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    {_fitting(card.fit, side)}
    picture = picture.convert("RGB")
    picture = picture.resize(size, Image.Resampling.{FILTER.name}, box, reducing_gap={GAP})
    picture.getexif()[0x112] = turned
    picture = ImageOps.exif_transpose(picture){grey}{_padding(card, side)}
    return np.asarray(picture){pixels}


session = onnxruntime.InferenceSession("classifier.onnx")
labels = Path("labels.txt").read_text(encoding="utf-8").splitlines()
images = read("picture.png")  # uint8 (1, {side}, {side}, {card.channels})
(probabilities,) = session.run(["probabilities"], {{"images": images}})  # float32 (1, {len(card.classes)})
print(labels[probabilities[0].argmax()], probabilities[0].max())"""


def _fitting(fit: str, side: int) -> str:
    """Lines of the snippet: the size to resize to, and the part of the picture to resize."""
    lines = {
        "crop": [
            "least = min(width, height)  # the square in the middle",
            "box = ((width - least) / 2, (height - least) / 2, (width + least) / 2, (height + least) / 2)",
            f"size = ({side}, {side})",
        ],
        "pad": [
            "box = (0, 0, width, height)  # the whole",
            f"scale = {side} / max(width, height)",
            "size = (max(1, round(scale * width)), max(1, round(scale * height)))",
        ],
        "stretch": ["box = (0, 0, width, height)  # the whole", f"size = ({side}, {side})"],
    }
    return "\n    ".join(lines[fit])


def _padding(card: Card, side: int) -> str:
    """Lines of the snippet that put the picture in the middle of a grey square."""
    if card.fit != "pad":
        return ""
    mode, grey = ("RGB", (GREY,) * 3) if card.channels == 3 else ("L", GREY)
    return f"""
    square = Image.new("{mode}", ({side}, {side}), {grey})
    square.paste(picture, (({side} - picture.width) // 2, ({side} - picture.height) // 2))
    picture = square"""


def _trained_with(card: Card) -> str:
    facts = {"training precision": card.precision} | card.made_with | card.shown_params()
    return "\n".join(f"- {_plain(name)}: {_plain(value)}" for name, value in facts.items())


def _plain(value: object) -> str:
    """Escape Markdown: a class may be called <b> or a|b."""
    escaped = html.escape(" ".join(str(value).split()), quote=False)
    return "".join(f"&#{ord(character)};" if character in "|`*_[]\\" else character for character in escaped)
