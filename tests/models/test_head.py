"""The three ways to make a network answer for other classes, for every family; and which parts freezing means."""

import pytest
import torch
from torch import nn

from imageclf.models.classifier import Classifier
from imageclf.models.registry import build_network, last_layer
from imageclf.models.zoo import preprocessing
from imageclf.runtime.errors import ParamsError
from imageclf.weights.freezing import blocks_of, freeze

FAMILIES = """
    alexnet convnext_tiny densenet121 efficientnet_b0 googlenet inception_v3 maxvit_t mnasnet0_5 mobilenet_v2
    mobilenet_v3_small regnet_y_400mf resnet18 shufflenet_v2_x0_5 squeezenet1_1 swin_t vgg11 vit_b_16
    """.split()  # noqa: SIM905


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def built(name: str, head: str, classes: int, size: tuple[int, int] | None = None) -> nn.Module:
    """Without memory for its weights; building it lets it answer for one image."""
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # regnets calculate with tensors while built
        return build_network(name, classes=classes, channels=3, size=size or preprocessing(name).size, head=head)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_takes_every_head(name: str) -> None:
    whole, replaced, appended, after = (
        built(name, head, classes)
        for head, classes in (("replace", 1000), ("replace", 7), ("append", 7), ("append_after", 7))
    )
    assert count(replaced) == count(whole) - 993 * count(last_layer(whole)[1]) // 1000
    assert count(appended) == count(after) == count(whole) + 7 * 1001
    for network in (replaced, appended, after):
        assert last_layer(network)[1].weight.shape[0] == 7  # type: ignore[union-attr,index]
        assert len(blocks_of(network)) > 1


@pytest.mark.parametrize(
    ("head", "classes", "parameters"),
    [
        ("replace", 1000, 138_357_544),
        ("replace", 10, 134_301_514),
        ("append", 10, 138_367_554),
        ("append_after", 10, 138_367_554),
    ],
)
def test_vgg16_has_the_notes_numbers_of_parameters(head: str, classes: int, parameters: int) -> None:
    network = built("vgg16", head, classes, size=(32, 32))
    assert count(network) == parameters
    assert network(torch.zeros(2, 3, 32, 32, device="meta")).shape == (2, classes)


def test_a_model_without_classes_of_its_own_takes_no_further_layer() -> None:
    with pytest.raises(ParamsError, match=r"train\.head is append, which only .* train\.model is cifarnet; set it"):
        built("cifarnet", "append", 10, size=(32, 32))


def classifier(name: str = "mobilenet_v3_small", **more: str) -> Classifier:
    torch.manual_seed(0)
    network = build_network(name, classes=4, channels=3, size=(32, 32), head=more.get("head", "replace"))
    return Classifier(network, [0.5] * 3, [0.5] * 3)


def trainable(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("head", ["replace", "append", "append_after"])
def test_with_a_frozen_backbone_the_last_layer_alone_is_trained(head: str) -> None:
    model = classifier(head=head)
    assert freeze(model, "backbone") == "all but the last layer are frozen"
    assert trainable(model) == count(last_layer(model.network)[1])


def test_the_first_blocks_are_frozen_in_order() -> None:
    left = []
    for how in range(1, 5):
        model = classifier("resnet18")
        freeze(model, how)
        left.append(trainable(model))
    blocks = blocks_of(classifier("resnet18").network)
    assert len(blocks) == 2 + 8  # its first convolution and norm, and two blocks in each of four layers
    whole = count(classifier("resnet18"))
    assert left == [whole - sum(map(count, blocks[:how])) for how in range(1, 5)]
    with pytest.raises(ParamsError, match=r"train\.freeze is 11, and the network has 10 blocks; lower it"):
        freeze(classifier("resnet18"), 11)


def test_frozen_parts_answer_in_training_as_they_do_after_it() -> None:
    model = classifier()
    freeze(model, "backbone")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images = torch.randint(0, 256, (8, 32, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    model.train()(images).sum().backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [name for name, each in model.named_parameters() if each.grad is not None] == [
        "network.classifier.3.weight",
        "network.classifier.3.bias",
    ]
    dropouts = [module for module in model.network.get_submodule("classifier").modules() if type(module) is nn.Dropout]
    assert all(module.training for module in dropouts)  # behind the frozen part


def test_what_lies_between_frozen_parts_is_frozen_without_parameters_too() -> None:
    # vgg16 has dropout behind either of its first two linear layers: the first lies before a frozen one.
    with torch.device("meta"):
        model = Classifier(built("vgg16", "replace", 4), [0.5] * 3, [0.5] * 3)
    freeze(model, "backbone")
    model.train()
    assert [model.network.get_submodule(f"classifier.{place}").training for place in (2, 5)] == [False, True]

    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(4, 4)
    )
    model = Classifier(network, [0.5] * 3, [0.5] * 3)
    freeze(model, "backbone")
    model.train()(torch.zeros(2, 1, 1, 3, dtype=torch.uint8))
    assert network.get_buffer("1.num_batches_tracked") == 0


def test_without_freezing_all_is_trained() -> None:
    model = classifier()
    assert freeze(model, "none") == "nothing is frozen"
    assert trainable(model) == count(model)
    assert not model.frozen


def test_several_heads_are_not_taken_for_one() -> None:
    class Distilled(nn.Sequential):
        def get_classifier(self) -> tuple[nn.Module, nn.Module]:
            return self[0], self[1]

    with pytest.raises(ParamsError, match=r"train\.model has 2 heads, and only one is supported; do not set weights"):
        last_layer(Distilled(nn.Linear(3, 4), nn.Linear(3, 4)))
