"""The weights that torchvision publishes for a model, downloaded once."""

from pathlib import Path

from stages.console.errors import ParamsError, SourceError
from stages.files.lock import lock
from stages.model.zoo import TIMM, torchvision_names
from stages.sources.fault import Fault
from stages.sources.pace import Patience
from stages.sources.pinned import PinnedFile, digest_of
from stages.sources.transfer import Web


class StampedFile(PinnedFile):
    """A file that is known by the beginning of its hash, which torchvision writes into its name."""

    def check(self, path: Path) -> None:
        """Compare the file at `path` in hash.

        Raises:
            Fault: it is another file, or none; the message stands after the file's name.
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
        SourceError: the host cannot be reached, or brings something else.
    """
    if model.startswith(TIMM) or model not in torchvision_names():
        raise ParamsError(
            f"params.yaml: train.pretrained goes with torchvision's models, and train.model is {model}; "
            "get its weights as a file and give the path as train.weights"
        )
    import torchvision.models as zoo

    return fetch_stamped(zoo.get_model_weights(model).DEFAULT.url, folder)


def fetch_stamped(url: str, folder: Path, *, web: Web | None = None, patience: Patience | None = None) -> Path:
    """The file behind `url`, whose name ends in `-` and the beginning of its sha256, below `folder`.

    Raises:
        SourceError: it does not come, or is another one.
    """
    above, _, name = url.rpartition("/")
    web, patience = web or Web(f"{above}/"), (patience or Patience()).endless()
    stamp = f"sha256:{name.rpartition('.')[0].rpartition('-')[2]}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with (folder / f"{name}.lock").open("w") as file:
        lock(file, wait=True)  # another run may be at it; then it is here when that one is done
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
    """Bytes, as the host says.

    Raises:
        Fault: it does not answer, or does not say.
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
        raise Fault("the host does not say how large it is")
    return int(length)
