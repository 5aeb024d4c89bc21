"""predict_logits: one answer an image, and none of the machine's shape in it."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imageclf.evaluation import inference
from imageclf.evaluation.inference import chunk_size, predict_logits
from imageclf.models.classifier import build_classifier
from imageclf.runtime.errors import MachineError
from tests.small_run import make_card, random_images

CPU = torch.device("cpu")


class FirstPixel(nn.Module):
    """Two logits: an image's first value and its negative. Notes what it sees of its surroundings."""

    def __init__(self) -> None:
        super().__init__()
        self.compute_threads: set[int] = set()
        self.modes: set[bool] = set()

    def forward(self, images: Tensor) -> Tensor:
        self.compute_threads.add(torch.get_num_threads())
        self.modes.add(self.training)
        first = images[:, 0, 0, 0].float()
        return torch.stack([first, -first], dim=1)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(inference.CHUNK_PIXELS, "cpu", 16 * 16 * 16)  # 16 images of 16x16


def test_answers_stand_in_the_order_of_the_images() -> None:
    images = np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1) * np.ones((1, 16, 16, 3), np.uint8)
    logits = predict_logits(FirstPixel(), images, device=CPU, threads=3)
    assert logits.dtype == torch.float32
    assert logits.tolist() == [[i, -i] for i in range(50)]


@pytest.mark.parametrize("model", ["cifarnet", "mobilenet_v3_small"])
def test_no_bit_depends_on_the_number_of_threads(model: str) -> None:
    card = make_card(model)
    classifier, images = build_classifier(card), random_images(50, card)
    before = torch.get_num_threads()
    answers = []
    for threads, ambient in ((1, 1), (2, 2), (5, 1)):
        torch.set_num_threads(ambient)
        answers.append(predict_logits(classifier, images, device=CPU, threads=threads))
    torch.set_num_threads(before)
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


def test_each_chunk_has_one_compute_thread_and_the_setting_comes_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    classifier = FirstPixel()
    predict_logits(classifier, random_images(50, make_card()), device=CPU, threads=2)
    assert classifier.compute_threads == {1}
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


@pytest.mark.parametrize("training", [True, False])
def test_it_predicts_as_in_eval_mode_and_leaves_the_mode(training: bool) -> None:
    classifier = FirstPixel().train(training)
    predict_logits(classifier, random_images(3, make_card()), device=CPU, threads=1)
    assert classifier.modes == {False}
    assert classifier.training is training


def test_autocast_is_entered_by_the_thread_that_computes() -> None:
    entered = []

    @contextmanager
    def autocast() -> Iterator[None]:
        entered.append(threading.current_thread())
        yield

    predict_logits(FirstPixel(), random_images(33, make_card()), device=CPU, threads=2, autocast=autocast)
    assert len(entered) == 3  # chunks of 16, 16 and 1
    assert threading.main_thread() not in entered


def test_progress_counts_every_image() -> None:
    counts: list[int] = []
    predict_logits(FirstPixel(), random_images(33, make_card()), device=CPU, threads=2, advance=counts.append)
    assert counts == [16, 16, 1]


def test_read_only_images_pass_without_a_warning() -> None:
    images = random_images(3, make_card())
    images.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predict_logits(FirstPixel(), images, device=CPU, threads=1)


def test_a_full_device_is_one_sentence() -> None:
    class Greedy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise torch.OutOfMemoryError

    with pytest.raises(
        MachineError, match=r"cpu has too little free memory for 16 images at once; set runtime\.device"
    ):
        predict_logits(Greedy(), random_images(40, make_card()), device=CPU, threads=2)


def test_chunks_shrink_as_images_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert [chunk_size((side, side), CPU) for side in (32, 64, 224, 1000)] == [50, 12, 1, 1]
    assert chunk_size((32, 32), torch.device("cuda")) == 4000
