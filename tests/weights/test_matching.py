"""Which tensors of a file go where, and the sentence where they do not."""

import pytest
import torch
from torch import Tensor, nn

from imageclf.runtime.errors import DataError
from imageclf.weights.matching import States, begin_from


def network(classes: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, classes))


def state(classes: int = 3, **names: str) -> dict[str, Tensor]:
    """Of a trained network; `names` renames its modules, by position (`m0="stem"`)."""
    torch.manual_seed(1)
    found = {}
    for name, tensor in network(classes).state_dict().items():
        module, _, leaf = name.rpartition(".")
        found[f"{names.get(f'm{module}', module)}.{leaf}"] = tensor
    return found


def test_all_but_the_fresh_layer_comes_from_the_file() -> None:
    mine, theirs = network(), state(classes=1000)
    before = mine.state_dict()["3.weight"].clone()
    assert begin_from(mine, {"": theirs}, fresh="3", source="x.pth") == "6 of 8 tensors from x.pth"
    assert torch.equal(mine.state_dict()["0.weight"], theirs["0.weight"])
    assert torch.equal(mine.state_dict()["3.weight"], before)


def test_a_layer_that_fits_is_fresh_all_the_same() -> None:
    mine = network()
    before = mine.state_dict()["3.weight"].clone()
    begin_from(mine, {"": state()}, fresh="3", source="x.pth")
    assert torch.equal(mine.state_dict()["3.weight"], before)


def test_without_a_fresh_layer_all_must_be_there() -> None:
    mine, theirs = network(), state()
    assert begin_from(mine, {"": theirs}, fresh=None, source="x.pth") == "8 of 8 tensors from x.pth"
    assert torch.equal(mine.state_dict()["3.weight"], theirs["3.weight"])


def test_counts_of_batches_and_auxiliary_heads_are_no_matter() -> None:
    theirs = {name: tensor for name, tensor in state().items() if not name.endswith("num_batches_tracked")}
    begin_from(network(), {"": theirs | {"aux1.fc.weight": torch.zeros(1)}}, fresh="3", source="x.pth")


def test_other_names_go_by_order_and_shape() -> None:
    mine, theirs = network(), state(classes=1000, m0="stem", m1="stem_norm", m3="fc")
    sentence = begin_from(mine, {"": theirs}, fresh="3", source="x.pth")
    assert "by order and shape, since its names differ" in sentence
    assert torch.equal(mine.state_dict()["1.bias"], theirs["stem_norm.bias"])
    with pytest.raises(DataError, match="does not fit"):
        begin_from(network(), {"": theirs}, fresh="3", source="x.safetensors", in_order=False)


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ({"0.weight": torch.zeros(1)}, r"5 of 6 tensors are missing \(first 0\.bias\), 1 of 6 tensors have another"),
        (state() | {"0.weight": torch.zeros(4, 3, 5, 5)}, r"1 of 6 .*\(first 0\.weight\), 4x3x5x5 for 4x3x3x3; give"),
        (state() | {"more.weight": torch.zeros(1)}, r"1 of 7 tensors are unexpected \(first more\.weight\)"),
        (dict(reversed(state(m0="stem").items())), r"2 of 6 tensors are missing"),
    ],
    ids=["missing", "shape", "more", "order"],
)
def test_what_does_not_fit_is_counted_and_named(theirs: dict[str, Tensor], words: str) -> None:
    mine = network()
    before = mine.state_dict()["0.weight"].clone()
    with pytest.raises(DataError, match=rf"x\.pth does not fit train\.model: {words}"):
        begin_from(mine, {"": theirs}, fresh="3", source="x.pth")
    assert torch.equal(mine.state_dict()["0.weight"], before)


def test_neighbours_that_only_a_name_tells_apart_are_not_matched_by_order() -> None:
    class Attention(nn.Module):
        def __init__(self, *names: str) -> None:
            super().__init__()
            for name in (*names, "out"):
                setattr(self, name, nn.Linear(4, 4) if name != "out" else nn.Linear(4, 3))

    queries = {"": Attention("k", "q").state_dict()}
    with pytest.raises(DataError, match="missing"):
        begin_from(Attention("query", "key"), queries, fresh="out", source="x.pth")
    layers = {"": Attention("fc0", "fc1").state_dict()}
    begin_from(Attention("layer1", "layer2"), layers, fresh="out", source="x.pth")


def averaged(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Other values under the same names."""
    return {name: tensor + 1 for name, tensor in tensors.items()}


def below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({"": below("module.", state())}, "(module)"),
        ({"": below("_orig_mod.", state())}, "(_orig_mod)"),
        ({"": below("module._orig_mod.model.backbone.", state())}, "(module._orig_mod.model.backbone)"),
        ({"": below("module.", state()) | {"n_averaged": torch.tensor(3)}}, "(module)"),
        ({"state_dict": below("net.", state()), "": {"best": torch.tensor(0.9)}}, "(state_dict.net); 1 others in it"),
        (
            {"state_dict": below("module.encoder_q.", state()) | below("module.encoder_k.", averaged(state()))},
            "(state_dict.module.encoder_q); 8 others in it",
        ),
        ({"": state() | {"3.0.weight": torch.ones(9), "3.2.weight": torch.ones(3)}}, "x.pth; "),
        ({"": {k: v for k, v in state().items() if k[0] != "3"}}, "6 of 8 tensors from x.pth"),
        ({"": state() | {"0.total_ops": torch.ones(1)}}, "6 of 8 tensors from x.pth"),
    ],
    ids=["parallel", "compiled", "nested", "averaged", "dict", "two encoders", "other head", "no head", "profiled"],
)
def test_what_training_scripts_put_before_a_name_goes_off(states: States, words: str) -> None:
    mine = network()
    sentence = begin_from(mine, states, fresh="3", source="x.pth")
    assert words in f"{sentence}; "
    assert torch.equal(mine.state_dict()["1.bias"], state()["1.bias"])


@pytest.mark.parametrize(
    ("states", "where"),
    [
        ({"model": state(), "model_ema": below("module.", averaged(state()))}, "model_ema.module"),
        ({"state_dict": state(), "state_dict_ema": averaged(state())}, "state_dict_ema"),
        ({"": below("model.", state()) | below("ema_model.", averaged(state()))}, "ema_model"),
        ({"student": state(), "teacher": averaged(state())}, "teacher"),
    ],
    ids=["references", "timm", "one dict", "teacher"],
)
def test_a_moving_average_is_preferred_and_that_is_said(states: States, where: str) -> None:
    mine = network()
    sentence = begin_from(mine, states, fresh="3", source="x.pth")
    assert f"({where}, a moving average); " in sentence
    assert torch.equal(mine.state_dict()["1.bias"], averaged(state())["1.bias"])


def test_an_average_of_another_network_is_passed_over() -> None:
    sentence = begin_from(network(), {"model": state(), "ema": {"0.weight": torch.ones(1)}}, fresh="3", source="x.pth")
    assert "(model); 1 others in it are not used" in sentence


def test_a_deeper_network_is_not_taken_for_a_shallow_one() -> None:
    deep = nn.Sequential(*network()[:3], nn.Linear(16, 16), nn.Linear(16, 3)).state_dict()
    with pytest.raises(DataError, match=r"are unexpected \(first 4\.weight\)"):
        begin_from(network(), {"": deep}, fresh="3", source="x.pth")
