"""A network that we do not know, tried before its training: what would end the run later ends it now, in a sentence."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import imageclf
from imageclf.models.card import Card
from imageclf.models.classifier import Classifier, build_classifier, load_classifier, save_classifier
from imageclf.models.device import HALVES
from imageclf.models.own import is_own_module, told
from imageclf.models.zoo import TIMM
from imageclf.runtime.errors import ParamsError
from imageclf.runtime.files import write_text
from imageclf.runtime.platform import how_it_ended
from imageclf.runtime.stage import run_tool
from imageclf.training.checkpoint import fingerprint

SAID = "train: "  # begins the lines of the trial that are passed on; a network may print others
OPSET = 18  # of ONNX
SAME = 1e-4  # logits that differ by less are the same answer
# What only gives another shape or type to what a network has computed.
RESHAPING = ("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Clone", "ToCopy", "T", "Transpose")


def try_out(card: Card, passed: Path, *, translate: bool = True) -> None:
    """In a process of its own, on the CPU: build the network, train it on two images, save it, load it, and export it.

    Those of our own and torchvision's pass: the tests try them. A line says so where its answers are no logits. Without
    `translate` it is not written as ONNX, which takes longest. The folder `passed` remembers networks of timm, which
    are not tried again until something of them, of the code or of the versions changes.

    Raises:
        ParamsError: it cannot do one of these.
    """
    if not (is_own_module(card.model) or card.model.startswith(TIMM)):
        return
    mark = passed / _fingerprint(card, translate)
    if mark.exists():
        print(mark.read_text(), end="", flush=True)
        return
    print(f"{SAID}{card.model} is tried first: trained on two images, saved, loaded, exported", flush=True)
    root = str(Path(imageclf.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps({"card": asdict(card), "translate": translate}),
        env=os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    said = "".join(f"{line}\n" for line in done.stdout.splitlines() if line.startswith(SAID))
    print(said, end="", flush=True)
    if done.returncode:
        last = (done.stderr.strip() or "no word").splitlines()[-1]
        if done.returncode == ParamsError.exit_code:
            raise ParamsError(last)
        raise ParamsError(
            f"params.yaml: train.model {card.model} in its trial {how_it_ended(done.returncode)} ({last}); fix it"
        )
    if card.model.startswith(TIMM):  # what a module of the user's imports may change unseen
        write_text(mark, said)


def _fingerprint(card: Card, translate: bool) -> str:
    """Hex sha256 of all that a trial depends on."""
    names = ("model", "head", "size", "network_size", "channels", "precision", "made_with")
    facts = {name: asdict(card)[name] for name in names} | {"classes": len(card.classes), "translate": translate}
    return fingerprint(facts | ({"timm": version("timm")} if card.model.startswith(TIMM) else {}))


def main() -> None:
    asked = json.load(sys.stdin)
    facts = asked["card"]
    card = Card(**facts | {key: tuple(facts[key]) for key in ("size", "network_size")})
    try_here(card, translate=asked["translate"])


def try_here(card: Card, *, translate: bool = True) -> None:
    """The trial itself, in this process.

    Raises:
        ParamsError: the network cannot do one of these.
    """
    from imageclf.models.tracing import traced, translated

    classifier = try_learning(card)
    with classifier.one_look():
        program = traced(classifier, card)
    if translate:
        translated(program, card, opset=OPSET)


def try_learning(card: Card) -> Classifier:
    """The first half of the trial: a classifier that was trained on two images, and is the same when loaded again.

    Raises:
        ParamsError: it cannot be built or trained, or is another.
    """
    torch.manual_seed(0)
    classifier = build_classifier(card)
    images = torch.randint(0, 256, (2, *card.size, card.channels)).to(torch.uint8)
    _check_tensors(classifier, card.model)
    _train(classifier, images, card)
    answer = _answer(classifier, images)
    _check_answer(classifier, answer, images, card.model)
    _say_what_it_ends_in(classifier, images, card.model)
    _save_and_load(classifier, answer, images, card)
    return classifier


def _check_tensors(classifier: Classifier, model: str) -> None:
    """Hold everything that is trained or measured in training to fp32."""
    if not any(parameter.requires_grad for parameter in classifier.parameters()):
        raise ParamsError(f"params.yaml: train.model {model} has no parameters that could be trained; give it some")
    network = classifier.network
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.dtype != torch.float32 and (tensor.is_floating_point() or tensor.is_complex()):
            found = str(tensor.dtype).removeprefix("torch.")
            raise ParamsError(
                f"params.yaml: train.model {model} has {name} in {found}, and float32 is needed; "
                "train.precision says what it is computed in"
            )


def _train(classifier: Classifier, images: Tensor, card: Card) -> None:
    """Forward and backward, in the run's precision."""
    remedy = "fix it" if card.precision == "fp32" else "set train.precision to fp32, or fix it"
    with told(card.model, f"be trained in {card.precision}", remedy):
        half = HALVES.get(card.precision)
        with torch.autocast("cpu", half, enabled=half is not None):
            logits = classifier.train()(images)
        wanted = (len(images), len(card.classes))
        if not isinstance(logits, Tensor) or logits.shape != wanted:
            found = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
            raise ParamsError(
                f"params.yaml: train.model {card.model} answers {found} in training for two images, and {wanted} is "
                "needed; it has to answer there as it does afterwards"
            )
        F.cross_entropy(logits.float(), torch.arange(len(images)) % len(card.classes)).backward()


def _check_answer(classifier: Classifier, answer: Tensor, images: Tensor, model: str) -> None:
    """Let an answer to an image depend on that image alone."""
    if not _is_same(answer, _answer(classifier, images)):
        raise ParamsError(
            f"params.yaml: train.model {model} answers otherwise when asked again; nothing in it may be random after "
            "training (F.dropout takes training=self.training)"
        )
    if not _is_same(answer[:1], _answer(classifier, images[:1])):
        raise ParamsError(
            f"params.yaml: train.model {model} answers otherwise for an image when others come with it; after training "
            "no layer may average over a batch (batch norm keeps running statistics for that)"
        )


def _save_and_load(classifier: Classifier, answer: Tensor, images: Tensor, card: Card) -> None:
    with tempfile.TemporaryDirectory() as above, told(card.model, "be saved and loaded", "fix it"):
        folder = Path(above) / "classifier"
        save_classifier(classifier, card, folder)
        loaded, _ = load_classifier(folder)
        if not _is_same(answer, _answer(loaded, images)):
            raise ParamsError(
                f"params.yaml: train.model {card.model} answers otherwise once it is saved and loaded: it keeps "
                "something outside its parameters and persistent buffers; give that to register_buffer"
            )


def _say_what_it_ends_in(classifier: Classifier, images: Tensor, model: str) -> None:
    """Logits are made probabilities by the loss and by export; what makes them such before leaves little to learn."""
    logits = classifier.eval()(images)
    ends_in = "sigmoid" if _last_step(logits) == "Sigmoid" else None
    if (logits >= 0).all() and torch.allclose(logits.sum(1), torch.ones(len(images)), atol=1e-3):
        ends_in = "softmax"
    if ends_in:
        print(
            f"{SAID}{model} answers probabilities (it ends in {ends_in}), and logits are needed: "
            f"training and export put softmax behind it; leave {ends_in} out",
            flush=True,
        )
    elif (logits <= 0).all() and torch.allclose(logits.logsumexp(1), torch.zeros(len(images)), atol=1e-3):
        print(
            f"{SAID}{model} answers logarithms of probabilities (it ends in log_softmax), and logits are needed: "
            "training and export put softmax behind it; leave log_softmax out",
            flush=True,
        )


def _last_step(answer: Tensor) -> str:
    """The name of the operation that an answer comes from, as autograd has it."""
    step = answer.grad_fn
    while step and step.name().split("Backward")[0] in RESHAPING:
        step = step.next_functions[0][0]
    return step.name().split("Backward")[0] if step else ""


def _answer(classifier: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return classifier.eval()(images).float()


def _is_same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=SAME, atol=SAME, equal_nan=True)


if __name__ == "__main__":
    run_tool(main)
