"""The sharded step: the gradient that plain training has."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from imageclf.augment.mixing import Mixing, image_weights, soft_targets, weighted_fractions
from imageclf.models import classifier as classifier_module
from imageclf.training import shared, update
from imageclf.training.loading import Batch
from imageclf.training.shared import Network, views
from tests.augment.augmenting import augmenting
from tests.training.sharded import SPLIT, augmented, make_pool, small_classifier, train_a_little


def gradient_of(**changes: Any) -> tuple[list[torch.Tensor], float, float]:
    """The sharded gradient of 40 images, the sum of losses, the number of right answers."""
    classifier = small_classifier(random=False)
    with make_pool(classifier, workers=2, shards=2, **changes) as pool:
        pool.compute(Batch(np.arange(40), epoch=1, step=6))
        loss, right, _ = pool.scores()
        pool.update(0.0)
        return [each.clone() for each in views(pool._board.gradients[0], Network(classifier).trainable)], loss, right


def test_a_class_weight_multiplies_the_loss_of_its_images() -> None:
    counts = np.bincount(SPLIT.labels)
    weights = len(SPLIT.labels) / (4 * counts[SPLIT.labels])
    assert weights.mean() == pytest.approx(1)
    assert image_weights(SPLIT.labels) == pytest.approx(weights)
    gradient, loss, right = gradient_of(class_weights="balanced")

    classifier = small_classifier(random=False)
    indices = np.arange(40)
    logits = classifier(torch.from_numpy(augmenting(0, flip="random", translate=1)(SPLIT.images, indices, 1)))
    labels = torch.from_numpy(SPLIT.labels[indices])
    losses = nn.functional.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")
    losses = losses * torch.from_numpy(weights[indices])
    plain = torch.autograd.grad(losses.mean(), Network(classifier).trainable)
    torch.testing.assert_close(gradient, list(plain), atol=1e-6, rtol=1e-4)
    assert loss == pytest.approx(losses.sum().item(), rel=1e-5)
    assert right == (logits.argmax(1) == labels).sum().item()


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_filters_with_the_channels_first_as_on_apples_gpus_are_trained_alike(
    monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    def trained() -> list[torch.Tensor]:
        classifier = small_classifier(random=False)
        with make_pool(classifier, workers=1, shards=2, optimizer=optimizer) as pool:
            pool.compute(Batch(np.arange(32), epoch=0, step=0))
            pool.update(0.1)
        return [parameter.detach().clone() for parameter in classifier.parameters()]

    last = trained()
    for module in (shared, update, classifier_module):
        monkeypatch.setattr(module, "channels_last_on", lambda device: False)
    first = trained()
    assert first[0].is_contiguous() and not last[0].is_contiguous()
    torch.testing.assert_close(first, last, atol=1e-4, rtol=1e-3)


def test_a_class_without_images_has_no_part_in_the_weights() -> None:
    assert image_weights(np.array([0, 0, 0, 2])).tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])


def test_mixed_images_are_trained_towards_both_classes_by_their_shares() -> None:
    gradient, loss, right = gradient_of(**augmented(mixup=0.5, cutmix=0.5), class_weights="balanced")

    classifier = small_classifier(random=False)
    augment, weights = augmenting(0, flip="random", translate=1), image_weights(SPLIT.labels)
    losses, hits = [], 0
    for shard, indices in enumerate(np.split(np.arange(40), 2)):
        mixed = Mixing(3, mixup=0.5, cutmix=0.5).draw(20, (8, 8), step=6, shard=shard)
        logits = classifier(torch.from_numpy(mixed.of(augment(SPLIT.images, indices, 1))))
        others, fractions = indices[mixed.partners], torch.from_numpy(mixed.fractions)
        of_both = [
            nn.functional.cross_entropy(
                logits, torch.from_numpy(SPLIT.labels[each]), label_smoothing=0.1, reduction="none"
            )
            for each in (indices, others)
        ]
        own, other = (
            torch.from_numpy(weights[each]) * loss for each, loss in zip((indices, others), of_both, strict=True)
        )
        losses.append(fractions * own + (1 - fractions) * other)
        major = np.where(mixed.fractions > 0.5, SPLIT.labels[indices], SPLIT.labels[others])
        hits += int((logits.argmax(1).numpy() == major).sum())
    total = torch.cat(losses)
    plain = torch.autograd.grad(total.mean(), Network(classifier).trainable)
    torch.testing.assert_close(gradient, list(plain), atol=1e-6, rtol=1e-4)
    assert loss == pytest.approx(total.sum().item(), rel=1e-5)
    assert right == hits


def test_repeated_images_are_augmented_by_their_turns() -> None:
    def loss(epochs: np.ndarray | None) -> float:
        with make_pool(small_classifier(random=False), workers=1, shards=2) as pool:
            pool.compute(Batch(np.full(8, 7), epoch=3, step=0, epochs=epochs))
            return pool.scores().loss

    assert loss(None) == loss(np.full(8, 3))
    assert loss(None) != loss(np.arange(8))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_long_gradient_is_clipped_as_a_whole(workers: int) -> None:
    def change(clip_norm: float) -> torch.Tensor:
        classifier = small_classifier(random=False)
        network = Network(classifier)
        before = torch.cat([tensor.detach().flatten().clone() for tensor in network.trainable])
        with make_pool(classifier, workers=workers, shards=4, momentum=0.0, weight_decay=0.0) as pool:
            pool.compute(Batch(np.arange(32), epoch=0, step=0))
            pool.update(1.0, clip_norm=clip_norm)
        return torch.cat([tensor.detach().flatten() for tensor in network.trainable]) - before

    free = change(0.0)
    norm = free.norm().item()
    torch.testing.assert_close(change(norm / 4), free / 4, atol=1e-6, rtol=1e-3)
    assert torch.equal(change(norm * 2), free)


def test_a_batch_with_fewer_images_than_shards_is_trained_on() -> None:
    assert train_a_little(workers=2, batch=8) == train_a_little(workers=1, batch=8)
    classifier = small_classifier(random=False)
    with make_pool(classifier, workers=2, shards=4) as pool:
        pool.compute(Batch(np.array([5]), epoch=0, step=0))
        pool.update(0.0)
        gradient = pool._board.gradients[0]
        assert torch.isfinite(gradient).all()
        assert gradient.any()


def test_the_gradient_is_that_of_the_whole_batch() -> None:
    classifier = small_classifier(random=False)
    indices = np.arange(40)
    with make_pool(classifier, workers=2, shards=8) as pool:
        pool.compute(Batch(indices, epoch=1, step=0))
        loss, right, _ = pool.scores()
        pool.update(0.0)
        sharded = views(pool._board.gradients[0], Network(classifier).trainable)

    images = torch.from_numpy(augmenting(0, flip="random", translate=1)(SPLIT.images, indices, 1))
    logits = classifier(images)
    labels = torch.from_numpy(SPLIT.labels[indices])
    losses = nn.functional.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")
    plain = torch.autograd.grad(losses.mean(), Network(classifier).trainable)
    torch.testing.assert_close(sharded, list(plain), atol=1e-6, rtol=1e-4)
    assert loss == pytest.approx(losses.sum().item(), rel=1e-5)
    assert right == (logits.argmax(1) == labels).sum().item()


def test_running_statistics_are_the_mean_of_the_shards() -> None:
    classifier = small_classifier()
    with make_pool(classifier, workers=2, shards=4) as pool:
        pool.compute(Batch(np.arange(32), epoch=0, step=0))
        pool.update(0.0)
    images = augmenting(0, flip="random", translate=1)(SPLIT.images, np.arange(32), 0)
    features = classifier.network.get_submodule("0")(classifier.pixels(torch.from_numpy(images)))
    shard_means = [shard.mean((0, 2, 3)) for shard in features.split(8)]
    expected = 0.1 * torch.stack(shard_means).mean(0)  # the running mean starts at 0, momentum is 0.1
    torch.testing.assert_close(classifier.network.get_buffer("1.running_mean"), expected, atol=1e-6, rtol=1e-4)
    assert classifier.network.get_buffer("1.num_batches_tracked") == 1


@pytest.mark.parametrize("changes", [{}, augmented(mixup=0.5) | {"class_weights": "balanced"}], ids=str)
def test_a_step_on_a_device_takes_no_tensor_of_the_cpu(changes: dict[str, Any]) -> None:
    device = torch.device("meta")
    classifier = small_classifier().to(device)
    with make_pool(classifier, workers=1, shards=2, device=device, **changes) as pool:
        pool._own.compute(Batch(np.arange(32), epoch=0, step=0))
        pool.update(0.1)
        assert pool._board.gradients.device == device


def test_each_class_has_an_equal_part_in_the_weighted_loss_of_mixed_images() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = (torch.arange(1000) % 10 == 0).long()  # nine of the one to one of the other
    partners = torch.randperm(1000, generator=generator)
    weights, fractions = torch.from_numpy(image_weights(labels.numpy())), torch.rand(1000, generator=generator)
    own, total = weighted_fractions(fractions, weights, weights[partners])
    parts = (soft_targets(labels, labels[partners], own, 2) * total[:, None]).sum(0)
    assert (parts / parts.sum()).tolist() == pytest.approx([0.5, 0.5], abs=0.02)
