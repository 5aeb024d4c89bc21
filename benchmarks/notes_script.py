"""The notes' training script as they have it, to compare with: `python -m benchmarks.notes_script` after `dvc repro`.

Its loop, its network, its loader and its recipe: no shuffling, no normalisation, plain SGD, two epochs, torch's own
threads. Mended is only what kept it from running (the kernel size) and from telling the truth (accuracy was divided by
the number of training images, and the last 16 test images were dropped).
"""

import time

import torch
import torchvision.transforms.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from stages.data.prepared import Split, read_split
from stages.model.notes import notes_cnn


class Images(Dataset[tuple[Tensor, int]]):
    """As torchvision's data sets give them: a PIL image through ToTensor, one at a time."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = F.to_pil_image(torch.tensor(self._split.images[index]).permute(2, 0, 1))
        return F.to_tensor(image), int(self._split.labels[index])


def main() -> None:
    train = DataLoader(Images(read_split("train")), batch_size=64, drop_last=True)
    test = DataLoader(Images(read_split("test")), batch_size=64)
    torch.manual_seed(0)
    network = notes_cnn(classes=10, channels=3, size=(32, 32), activations=False)
    loss_of = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    for epoch in (1, 2):
        begun = time.monotonic()
        for images, labels in train:
            loss = loss_of(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds = time.monotonic() - begun
        print(f"epoch {epoch}: {seconds:.1f} s, test top-1 {100 * _accuracy(network, test):.2f} %", flush=True)


@torch.no_grad()
def _accuracy(network: nn.Module, loader: DataLoader[tuple[Tensor, int]]) -> float:
    right = sum(int((network(images).argmax(1) == labels).sum()) for images, labels in loader)
    return right / 10_000


if __name__ == "__main__":
    main()
