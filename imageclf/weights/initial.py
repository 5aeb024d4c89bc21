"""The initial weights of a run: random, published or from a file."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from imageclf.config.section import NO_FILE
from imageclf.config.train import TrainParams
from imageclf.datasets.source import Patience, PinnedFile, digest_of
from imageclf.datasets.web import Web
from imageclf.images.dataset import Dataset
from imageclf.models.card import Card, Metadata
from imageclf.models.classifier import Classifier, build_classifier
from imageclf.models.own import is_own_module, source_sha256
from imageclf.models.registry import SIDES, ThreeChannels, has_published_weights, last_layer
from imageclf.models.zoo import TIMM, Preprocessing, preprocessing, torchvision_names
from imageclf.runtime.errors import DataError, Fault, ParamsError, SourceError, printable
from imageclf.runtime.files import sha256_of_file
from imageclf.runtime.platform import locked

DOWNLOADS = Path(".downloads/weights")  # in the main checkout, and kept for the next run


class StampedFile(PinnedFile):
    """A file whose name has the beginning of its hash, as torchvision's files do."""

    def check(self, path: Path) -> None:
        """Check the hash of the file at `path`.

        Raises:
            Fault: the file is missing or different; the message follows the file's name.
        """
        if not path.is_file():
            raise Fault("is not there")
        found = digest_of(path)
        if not found.startswith(self.digest):
            raise Fault(f"has {found[: len(self.digest)]}…, not {self.digest}…")


def published_weights(model: str, folder: Path) -> Path:
    """The file with the model's published weights, in `folder` from an earlier run or after a download.

    Raises:
        ParamsError: the model is not torchvision's.
        SourceError: the download fails or is a different file.
    """
    if model.startswith(TIMM) or model not in torchvision_names():
        raise ParamsError(
            f"params.yaml: train.pretrained needs a torchvision model, and train.model is {model}; "
            "get its weights as a file and give the path as train.weights"
        )
    import torchvision.models as zoo

    return fetch_stamped(zoo.get_model_weights(model).DEFAULT.url, folder)


def fetch_stamped(url: str, folder: Path, *, web: Web | None = None, patience: Patience | None = None) -> Path:
    """Download `url` to `folder`; its name ends in `-` and the beginning of its sha256.

    Raises:
        SourceError: the download fails or is a different file.
    """
    above, _, name = url.rpartition("/")
    web, patience = web or Web(f"{above}/"), (patience or Patience()).endless()
    stamp = f"sha256:{name.rpartition('.')[0].rpartition('-')[2]}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with locked(folder / f"{name}.lock"):  # another run may be downloading it
        try:
            StampedFile(name, 0, stamp).check(path)
        except Fault:
            try:
                web.fetch(StampedFile(name, _size_of(url, web, patience), stamp), path, patience)
            except Fault as fault:
                raise SourceError(
                    f"{url}: {fault}; run again, or get it elsewhere and give its path as train.weights"
                ) from None
    return path


def _size_of(url: str, web: Web, patience: Patience) -> int:
    """The size in bytes that the host reports.

    Raises:
        Fault: the host does not answer or does not report a size.
    """
    import requests

    try:
        with web.session() as session:
            answer = session.head(url, allow_redirects=True, timeout=(patience.connect, patience.stall))
            answer.raise_for_status()
    except requests.RequestException as error:
        raise Fault(f"it cannot be reached ({type(error).__name__})") from None
    length = answer.headers.get("Content-Length", "")
    if not length.isdecimal():
        raise Fault("the host does not report its size")
    return int(length)


@dataclass(frozen=True)
class Beginning:
    """The file of initial weights, if any, and the preprocessing."""

    weights: Path | None
    metadata: Metadata | None  # of the weights, if they are a classifier of ours
    sees: Preprocessing
    auto: tuple[int, int]  # height, width in pixels with train.size auto
    reason: str  # of this preprocessing
    fresh_head: bool  # whether the last layer is not in the weights, or is for other classes
    made_from: dict[str, str]  # sha256 of files outside the project's code that affect the network


def choose_beginning(recipe: TrainParams, dataset: Dataset, downloads: Path) -> Beginning:
    """Resolve `train.pretrained`, `train.weights` and `train.size`.

    Raises:
        ParamsError: the model has no published weights, does not exist, or is not that of the weights.
        SourceError: they cannot be downloaded.
        DataError: their metadata is damaged.
    """
    weights = _weights(recipe, downloads)
    metadata = _metadata(weights, recipe) if weights else None
    if metadata:
        sees = Preprocessing(metadata.network_size, metadata.mean, metadata.std)
        reason = "as in their training"
    elif weights and has_published_weights(recipe.model):
        sees, reason = preprocessing(recipe.model), f"as for the published weights of {recipe.model}"
    else:
        sees, reason = Preprocessing(dataset.size, dataset.mean, dataset.std), "as the prepared images"
    auto = sees.size
    if isinstance(recipe.size, int):
        sees, reason = (
            Preprocessing((recipe.size, recipe.size), sees.mean, sees.std),
            f"{reason}, except for train.size",
        )
    made_from = {"weights": sha256_of_file(weights)} if weights and weights.is_file() else {}
    if is_own_module(recipe.model):
        made_from["module"] = source_sha256(recipe.model)
    fresh_head = metadata is None or not _are_the_same(metadata.classes, dataset.classes)
    return Beginning(weights, metadata, sees, auto, reason, fresh_head, made_from)


def begun_classifier(card: Card, beginning: Beginning) -> Classifier:
    """Build the classifier of `card` with its initial weights, and print a line about them.

    Raises:
        DataError: the file has no weights, or weights for another model.
        ParamsError: the weights are of this model for another image size.
    """
    if beginning.weights is None:
        return build_classifier(card)
    try:
        classifier, words = _begun(card, beginning, beginning.weights)
    except DataError:
        fitting = _fitting_size(card, beginning, beginning.weights)
        if not fitting:
            raise
        theirs, ours = (f"{width}x{height}" for height, width in (fitting, card.network_size))
        raise ParamsError(
            f"params.yaml: train.weights is {printable(beginning.weights)}, which fits {card.model} for {theirs} "
            f"pixels, not {ours}; set train.size to {'auto' if fitting == beginning.auto else fitting[0]}"
        ) from None
    print(f"train: {'; '.join([*words, _seen(beginning)])}", flush=True)
    return classifier


def _begun(card: Card, beginning: Beginning, weights: Path) -> tuple[Classifier, list[str]]:
    """The classifier, and messages about its weights."""
    words = list[str]()
    if beginning.metadata:
        classifier = build_classifier(card)
        words += _go_on(classifier.network, weights, beginning.metadata.classes, card.classes)
    else:
        has_own_classes = card.head != "replace"
        classifier = build_classifier(card, lambda network: words.extend(_begin(network, weights, has_own_classes)))
    return classifier, words


def _fitting_size(card: Card, beginning: Beginning, weights: Path) -> tuple[int, int] | None:
    """The size (H, W) for which the model fits the weights; None if there is none."""
    for size in (beginning.auto, *((side, side) for side in SIDES)):
        # On the meta device: only shapes count.
        with suppress(Exception), torch.device("meta"):
            _begun(replace(card, network_size=size), beginning, weights)
            return size
    return None


def _weights(recipe: TrainParams, downloads: Path) -> Path | None:
    if recipe.pretrained:
        return published_weights(recipe.model, downloads)
    return Path(recipe.weights) if recipe.weights != NO_FILE else None


def _metadata(weights: Path, recipe: TrainParams) -> Metadata | None:
    from imageclf.weights.matching import read_metadata

    metadata = read_metadata(weights)
    if not metadata:
        return None
    both_own = is_own_module(metadata.model) and is_own_module(recipe.model)  # the module may have moved
    for name, theirs, mine in (("model", metadata.model, recipe.model), ("head", metadata.head, recipe.head)):
        if theirs != mine and not (name == "model" and both_own):
            raise ParamsError(
                f"params.yaml: train.weights is {printable(weights)}, trained with train.{name} {printable(theirs)}, "
                f"and train.{name} is {mine}; change one of them"
            )
    return metadata


def _go_on(network: nn.Module, weights: Path, before: list[str], classes: list[str]) -> list[str]:
    """Load the weights of another classifier of ours; returns messages about the last layer."""
    network = network.network if isinstance(network, ThreeChannels) else network
    if not _are_the_same(before, classes):
        return [_fill(network, weights, _refreshed(network)), "the last layer is new, since the classes differ"]
    words = _fill(network, weights, None)
    if before == classes:
        return [words, "the last layer is kept, since the classes are the same"]
    order = [before.index(name) for name in classes]
    with torch.no_grad():
        for parameter in last_layer(network)[1].parameters():
            parameter.copy_(parameter[order].clone())
    return [words, "the last layer is kept, its rows reordered like the classes"]


def _begin(network: nn.Module, weights: Path, has_own_classes: bool) -> list[str]:
    """Load other weights; `has_own_classes`: a layer for the data's classes follows the last layer."""
    if has_own_classes:
        return [_fill(network, weights, None), "a new layer follows"]
    return [_fill(network, weights, _refreshed(network)), "the last layer is new"]


def _fill(network: nn.Module, weights: Path, fresh: str | None) -> str:
    from imageclf.weights.matching import begin_from, is_in_order, read_weights

    source = printable(weights.name)
    return begin_from(network, read_weights(weights), fresh=fresh, source=source, in_order=is_in_order(weights))


def _refreshed(network: nn.Module) -> str:
    """Reinitialise the last layer; returns its name.

    Some networks initialise it with large values. After trained weights, the loss would then start at 9.
    """
    name, layer = last_layer(network)
    layer.reset_parameters()  # type: ignore[operator]
    return name


def _seen(beginning: Beginning) -> str:
    height, width = beginning.sees.size
    mean, std = (" ".join(f"{value:.3f}" for value in values) for values in (beginning.sees.mean, beginning.sees.std))
    return f"the network sees {width}x{height} pixels, mean {mean}, std {std}, {beginning.reason}"


def _are_the_same(before: list[str], classes: list[str]) -> bool:
    return sorted(before) == sorted(classes)
