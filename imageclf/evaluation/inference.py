"""From images to logits: one function for validation, evaluation and export."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn

from imageclf.images.dataset import PREPARED, Split, read_dataset, read_split
from imageclf.models.card import Card
from imageclf.runtime.errors import DataError, MachineError

# Pixels per forward pass: few enough for a core's cache, enough to keep a GPU busy.
CHUNK_PIXELS = {"cpu": 50 * 32 * 32, "accelerator": 4000 * 32 * 32}


def predict_logits(
    classifier: nn.Module,
    images: np.ndarray,
    *,
    device: torch.device,
    threads: int,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    advance: Callable[[int], object] = lambda images: None,
) -> torch.Tensor:
    """Logits float32 (N, classes), on the CPU, of images uint8 (N, H, W, C), N at least 1.

    The chunk size depends only on the kind of device and the image size (the classifier's `network_size` if it has
    one). On a CPU, `threads` chunks run in parallel with one compute thread each, so results do not depend on
    `threads`. The classifier is moved to `device` and put in eval mode. `advance` is called with each finished chunk's
    number of images.

    Raises:
        MachineError: the device is out of memory.
    """
    size = chunk_of(classifier, images, device)
    logits = []
    for chunk in chunks_answered(
        classifier,
        lambda begin: np.array(images[begin : begin + size]),  # a copy: the array may be read-only
        range(0, len(images), size),
        device=device,
        threads=threads,
        autocast=autocast,
    ):
        logits.append(chunk)
        advance(len(chunk))
    return torch.cat(logits)


def chunks_answered(
    classifier: nn.Module,
    load: Callable[[int], np.ndarray],
    begins: Sequence[int],
    *,
    device: torch.device,
    threads: int,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Iterator[torch.Tensor]:
    """What the classifier answers, float32 on the CPU, to the chunk that `load` gives for each of `begins`; in order.

    Raises:
        MachineError: the device is out of memory.
    """

    def answer(begin: int) -> torch.Tensor:
        images = torch.from_numpy(load(begin))
        try:
            with torch.no_grad(), autocast():  # both are thread-local
                return classifier(images.to(device)).float().cpu()
        except torch.OutOfMemoryError:
            raise MachineError(
                f"{device} has too little free memory for {len(images)} images at once; set runtime.device to cpu"
            ) from None

    with _evaluating(classifier.to(device)), chunk_pool(threads if device.type == "cpu" else 1) as pool:
        yield from pool.map(answer, begins)


def chunk_of(classifier: nn.Module, images: np.ndarray, device: torch.device) -> int:
    """How many of these images (N, H, W, C) the classifier takes at once."""
    return chunk_size(getattr(classifier, "network_size", None) or images.shape[1:3], device)


def chunk_size(image_size: tuple[int, ...], device: torch.device) -> int:
    """Images of (H, W) pixels in a chunk: 50 of 32x32 on a CPU."""
    pixels = CHUNK_PIXELS["cpu" if device.type == "cpu" else "accelerator"]
    return max(1, pixels // (image_size[0] * image_size[1]))


@contextmanager
def _evaluating(classifier: nn.Module) -> Iterator[None]:
    training = classifier.training
    classifier.eval()
    try:
        yield
    finally:
        classifier.train(training)


@contextmanager
def chunk_pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads with one compute thread of torch each, so that no chunk's bits depend on how many they are."""
    before = torch.get_num_threads()
    try:
        # torch keeps the number of compute threads per calling thread, so each thread of the pool sets it.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def read_held_out(card: Card, folder: Path = PREPARED) -> Split:
    """Memory-map the test split, and check that the classifier was trained for its classes and size.

    Raises:
        DataError: the split is missing or empty, or the classifier was trained for other images.
    """
    dataset, test = read_dataset(folder), read_split("test", folder)
    if not len(test):
        raise DataError(f"{folder} has no test images; give the data set some and run dvc repro")
    if (card.classes, card.size, card.channels) != (dataset.classes, dataset.size, dataset.channels):
        raise DataError(
            f"the classifier was trained on {card.data} ({_shape(card.size, card.channels, card.classes)}), and "
            f"{folder} holds {dataset.name} ({_shape(dataset.size, dataset.channels, dataset.classes)}); "
            "run dvc repro train"
        )
    return test


def _shape(size: tuple[int, int], channels: int, classes: list[str]) -> str:
    return f"{len(classes)} classes of {size[1]}x{size[0]}x{channels}"
