"""Who takes a turn, and who is compared with whom. Without torch, which the program that watches must not load."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Contestant:
    """One way to train, in words for the table."""

    what: str
    ours: bool = False
    epoch: int = 45_000  # images of one epoch of its recipe, on CIFAR-10


@dataclass(frozen=True)
class Pair:
    """Two contestants whose images a second are divided, and what the quotient tells."""

    left: str
    right: str
    what: str


PEAK = "peak"  # the turn that measures the machine itself
CONTESTANTS = {
    "ours": Contestant(
        "the pipeline's step with params.yaml's defaults: shards on single-threaded processes", ours=True
    ),
    "ours-unsharded": Contestant("the same net, batch, precision and optimiser as one batch on torch's own threads"),
    "ours-large": Contestant(
        "the same with model cifarnet_large, the net of the record recipe", ours=True, epoch=50_000
    ),
    "ours-notes-fp32": Contestant("the pipeline's step with the notes' net and recipe, batch 64, fp32", ours=True),
    "ours-notes-bf16": Contestant("the same in bf16", ours=True),
    "notes-script": Contestant("the notes' script's own loop, batch 64: PIL and ToTensor for each image, fp32"),
    "torchvision-same-net": Contestant("torchvision's training loop with our net, batch 128, two loader workers, fp32"),
    "torchvision-resnet18": Contestant("torchvision's training loop with its ResNet-18, as above"),
    "record": Contestant(
        "airbench94_muon, the CIFAR-10 record recipe, at its settings, batch 2000, fp32", epoch=50_000
    ),
}
PAIRS = [
    Pair("ours", "ours-unsharded", "what sharding costs or brings"),
    Pair("ours-notes-fp32", "notes-script", "the notes' net, the same precision"),
    Pair("ours-notes-bf16", "notes-script", "the notes' net, the precision that `auto` picks where there is bf16"),
    Pair("ours", "torchvision-same-net", "the same net in the ordinary loop"),
    Pair("ours", "torchvision-resnet18", "the net that one would reach for"),
    Pair("ours-large", "record", "the record recipe's net"),
]
