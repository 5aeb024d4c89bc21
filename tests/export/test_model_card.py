"""The model card says what is true and nothing that a name can smuggle in."""

from dataclasses import replace

from imageclf.export.model_card import model_card
from tests.small_run import make_card

TEST = {"top1": 0.5, "top1_low": 0.478, "top1_high": 0.522, "top5": 1.0, "loss": 1.25, "images": 2000}
EXPORTS = {
    kind: {"bytes": 1_500_000, "top1": 0.5, "same": 1999, "images": 2000, "loss": 1.25, "largest_difference": 0.0}
    for kind in ("classifier.onnx", "classifier.pt2")
}


def text(**changes: object) -> str:
    card = replace(make_card(), **changes)  # type: ignore[arg-type]
    return model_card(card, test=TEST, exports=EXPORTS, pictures="cut to the middle")


def test_it_says_what_goes_in_what_comes_out_and_how_good_it_is() -> None:
    card = text()
    assert "`images`, uint8 (N, 16, 16, 3), RGB" in card
    assert "`probabilities`, float32 (N, 3)" in card
    assert "| trained model | 50.00 % | 100.00 % | 1.2500 |" in card
    assert "On 2,000 test images, so that top-1 on others is between 47.8 and 52.2 % (95 % interval)." in card
    assert "| classifier.onnx | 1.5 MB | 50.00 % | 1,999 of 2,000 images |" in card
    assert "- train.augment.flip: none" in card


def test_many_classes_are_counted_and_not_listed() -> None:
    assert "and 80 more" in text(classes=[f"c{number}" for number in range(100)])


def test_a_class_name_stays_text() -> None:
    card = text(classes=["<script>alert(1)</script>", "a|b", "new\nline", "[x](y)"])
    assert "<script>" not in card
    assert "a|b" not in card
    assert "new line" in card
    assert "[x](y)" not in card


def test_a_window_is_told() -> None:
    assert "The window is" not in text()
    assert "The window is [0, 4095]: these values become black and white." in text(window=[0, 4095])


def test_a_mirrored_answer_is_told() -> None:
    assert "mirror" not in text()
    assert "mirror" in text(tta_flip=True)
