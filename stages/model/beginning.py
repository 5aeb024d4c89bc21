"""What a classifier begins from: fresh weights, those that are published for its model, or a file of the user's."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from stages.data.prepared import Dataset
from stages.files.hashing import sha256_of_file
from stages.model.card import Card
from stages.model.classifier import Classifier, build_classifier
from stages.model.head import last_layer
from stages.model.own_module import is_own_module, source_sha256
from stages.model.registry import has_published_weights
from stages.model.zoo import Preprocessing, preprocessing
from stages.params.schema import NO_FILE, TrainParams


@dataclass(frozen=True)
class Beginning:
    """A file of weights, if there is one, and what the network is to see."""

    weights: Path | None
    sees: Preprocessing
    made_from: dict[str, str]  # sha256 of what shaped the network and lies outside the project's own code


def choose_beginning(recipe: TrainParams, dataset: Dataset, downloads: Path) -> Beginning:
    """Resolve `train.pretrained`, `train.weights` and `train.size`.

    Raises:
        ParamsError: the model has no published weights, or no such module.
        SourceError: they cannot be downloaded.
    """
    weights = _weights(recipe, downloads)
    sees = Preprocessing(dataset.size, dataset.mean, dataset.std)
    if weights and has_published_weights(recipe.model):
        sees = preprocessing(recipe.model)
    if isinstance(recipe.size, int):
        sees = Preprocessing((recipe.size, recipe.size), sees.mean, sees.std)
    made_from = {"weights": sha256_of_file(weights)} if weights and weights.is_file() else {}
    if is_own_module(recipe.model):
        made_from["module"] = source_sha256(recipe.model)
    return Beginning(weights, sees, made_from)


def begun_classifier(card: Card, beginning: Beginning) -> Classifier:
    """The classifier of a card, its network given what it begins from.

    Raises:
        DataError: the file is no file of weights, or of other weights.
    """
    if beginning.weights is None:
        return build_classifier(card)
    return build_classifier(card, partial(_begin, weights=beginning.weights, has_own_classes=card.head != "replace"))


def _weights(recipe: TrainParams, downloads: Path) -> Path | None:
    if recipe.pretrained:
        # Here, not above: what speaks to the network takes time to import.
        from stages.model.pretrained import published_weights

        return published_weights(recipe.model, downloads)
    return Path(recipe.weights) if recipe.weights != NO_FILE else None


def _begin(network: nn.Module, *, weights: Path, has_own_classes: bool) -> None:
    from stages.model.matching import begin_from
    from stages.model.weights_file import is_in_order, read_weights

    fresh = None
    if not has_own_classes:
        fresh, layer = last_layer(network)
        # Some networks begin with a large last layer, made for all else being fresh: here the loss would begin at 9.
        layer.reset_parameters()  # type: ignore[operator]
    tensors = read_weights(weights)
    words = begin_from(network, tensors, fresh=fresh, source=weights.name, in_order=is_in_order(weights))
    print(f"train: {words}", flush=True)
