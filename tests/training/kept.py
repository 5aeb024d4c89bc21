"""Checkpoints in memory, where Checkpoints writes files."""

from imageclf.training.checkpoint import Checkpoint


class Kept:
    """All that were saved, the newest last."""

    seconds = 0.0  # that one takes to be written

    def __init__(self) -> None:
        self.all: list[Checkpoint] = []

    def save(self, checkpoint: Checkpoint, *, wait: bool = True) -> None:
        tensors = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
        self.all.append(Checkpoint(checkpoint.step, tensors, checkpoint.facts))
