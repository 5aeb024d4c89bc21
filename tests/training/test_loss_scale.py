"""fp16 with a loss scale: small gradients survive, an overflow costs one step, the bytes stay the same."""

from typing import Any

import numpy as np
import pytest
import torch

from imageclf.training.loading import Batch
from imageclf.training.shared import FIRST_SCALE
from imageclf.training.update import GROWTH, LARGEST_SCALE, unscale
from tests.training.kept import Kept
from tests.training.sharded import make_pool, small_classifier, train_a_little
from tests.training.test_loading import trained

YES, NO = torch.tensor(True), torch.tensor(False)


def test_a_gradient_is_divided_by_the_scale() -> None:
    gradient, scaling = torch.tensor([8.0, -2.0]), torch.tensor([4.0, 0.0])
    unscale(gradient, scaling, finite=YES)
    assert gradient.tolist() == [2.0, -0.5]
    assert scaling.tolist() == [4.0, 1.0]


def test_an_overflow_becomes_zero_and_halves_the_scale() -> None:
    gradient, scaling = torch.tensor([torch.inf, torch.nan, 1.0]), torch.tensor([4.0, 7.0])
    unscale(gradient, scaling, finite=NO)
    assert gradient.tolist() == [0, 0, 0]
    assert scaling.tolist() == [2.0, 0.0]


@pytest.mark.parametrize(("scale", "grown"), [(4.0, 8.0), (LARGEST_SCALE, LARGEST_SCALE)])
def test_the_scale_grows_after_many_finite_steps(scale: float, grown: float) -> None:
    scaling = torch.tensor([scale, GROWTH - 1])
    unscale(torch.ones(1), scaling, finite=YES)
    assert scaling.tolist() == [grown, 0.0]


def test_the_number_of_workers_changes_no_byte() -> None:
    assert train_a_little(workers=1, precision="fp16") == train_a_little(workers=2, precision="fp16")
    assert train_a_little(workers=1, precision="fp16") != train_a_little(workers=1)


def test_gradients_are_those_without_a_scale() -> None:
    def gradient(precision: str) -> torch.Tensor:
        with make_pool(small_classifier(random=False), workers=1, shards=2, precision=precision) as pool:
            pool.compute(Batch(np.arange(32), epoch=0, step=0))
            pool.update(0.0)
            return pool._board.gradients[0].clone()

    exact, half = gradient("fp32"), gradient("fp16")
    assert (exact - half).norm() < 0.01 * exact.norm()


def test_an_overflow_leaves_the_weights_finite_and_one_step_behind() -> None:
    classifier = small_classifier()
    with make_pool(classifier, workers=1, shards=2, precision="fp16", weight_decay=0.0, momentum=0.0) as pool:
        assert pool.scaling is not None
        before = pool._board.parameters.clone()
        pool.scaling[0] = 1e30
        pool.compute(Batch(np.arange(32), epoch=0, step=0))
        pool.update(0.1)
        assert (pool._board.parameters == before).all()
        assert pool.scaling.tolist() == [LARGEST_SCALE, 0]


def test_a_run_goes_on_with_its_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imageclf.training.update.GROWTH", 3)
    half: dict[str, Any] = {"precision": "fp16"}
    kept = Kept()
    unbroken = trained(kept=kept, **half)
    assert kept.all[4].tensors["scaling"][0] > FIRST_SCALE
    assert trained(begun=kept.all[4], **half) == unbroken
