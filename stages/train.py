"""Train a classifier on the prepared images.

Reads data/prepared, writes models/classifier, metrics/train.json, metrics/history.csv and metrics/augmented.png, and
TensorBoard events under logs/. Run by `dvc repro train`; a minute and a half for CIFAR-10 on two cores with bf16.
"""

from dataclasses import asdict
from pathlib import Path

from imageclf.config.runtime import RuntimeParams
from imageclf.config.section import read_section
from imageclf.config.train import TrainParams
from imageclf.images.grid import draw_augmented, drawn
from imageclf.models.card import CLASSIFIER
from imageclf.models.classifier import save_classifier
from imageclf.models.own import check_source
from imageclf.runtime.files import write_bytes, write_json, write_text
from imageclf.runtime.stage import project_root, run_stage
from imageclf.runtime.yaml import flat
from imageclf.training.blocks import read_folds
from imageclf.training.checkpoint import CHECKPOINTS, Origin, fingerprint, held_checkpoints
from imageclf.training.features import FEATURES
from imageclf.training.frozen import on_features, solve
from imageclf.training.launch import ranks_to_start, start_ranks
from imageclf.training.log import RunLog, log_folder
from imageclf.training.loop import fit
from imageclf.training.optimizers import LBFGS
from imageclf.training.outcome import ending_of, history_table, metrics_of
from imageclf.training.ranks import Ranks, join_ranks
from imageclf.training.setup import build, first_images, set_up
from imageclf.training.trial import try_out
from imageclf.weights.initial import DOWNLOADS

PASSED = CHECKPOINTS / "passed"  # trials of networks
METRICS = Path("metrics/train.json")
HISTORY = Path("metrics/history.csv")
AUGMENTED = Path("metrics/augmented.png")
OF_THE_MACHINE = ("made_with", "precision", "auto")  # in the card


def main() -> str:
    params, runtime = read_section(TrainParams), read_section(RuntimeParams)
    if (count := ranks_to_start(params, runtime)) > 1:
        start_ranks(count, "stages.train")
    with join_ranks() as ranks:
        return train(params, runtime, ranks)


def train(params: TrainParams, runtime: RuntimeParams, ranks: Ranks) -> str:
    with ranks.first_ahead():
        # 1. Read the data, resolve the params, and choose the device.
        setup = set_up(params, runtime, project_root() / DOWNLOADS, ranks)
        card, recipe = setup.card, setup.recipe
        for line in setup.opening():
            print(f"train: {line}", flush=True)

        # 2. Build the classifier, from fresh or given weights. Features outlive a network that cannot be exported.
        if ranks.first:
            try_out(card, project_root() / PASSED, translate=recipe.freeze != "backbone")
        whole = build(setup)
        samples = first_images(whole, recipe)

        # 3. With a frozen backbone, compute the features once.
        task = whole
        if recipe.freeze == "backbone":
            task = on_features(
                whole,
                card,
                recipe,
                sha256=setup.dataset.sha256,
                folds=read_folds(),
                folder=project_root() / FEATURES,
            )

    # 4. Train, from the newest checkpoint if there is one.
    facts = asdict(card)
    run = fingerprint(facts)
    ranks.check_same(flat(facts) | {"code": run})
    anywhere = fingerprint({name: facts[name] for name in facts if name not in OF_THE_MACHINE})
    origin = Origin(card.made_with["processor"], anywhere)
    with held_checkpoints(project_root() / CHECKPOINTS / run, ranks, origin) as checkpoints:
        begun = checkpoints.newest(anywhere=runtime.resume_anywhere)
        folder, first_step = log_folder(project_root(), run), begun.step if begun else 0
        with RunLog(folder if ranks.first else None, first_step=first_step, histograms=runtime.histograms) as log:
            if ranks.first and not begun:
                log.params({"data": card.data} | flat(card.params) | flat(card.auto))
                log.samples(samples)
                log.graph(whole.classifier, whole.train.images[:2])
            if recipe.optimizer == LBFGS:
                history = solve(task, recipe, log)
            else:
                history = fit(
                    task,
                    recipe,
                    begun=begun,
                    checkpoints=checkpoints,
                    checkpoint_every=runtime.checkpoint_every,
                    log=log,
                    log_every=runtime.log_every,
                )
        ending = f"{CLASSIFIER}{ending_of(history, recipe)}"
        if not ranks.first:
            return ending

        # 5. Save the classifier and its history.
        check_source(card.model, card.made_from)
        save_classifier(whole.classifier, card)
        write_text(HISTORY, history_table(history).to_csv(index=False, lineterminator="\n"))
        parameters = sum(tensor.numel() for tensor in whole.classifier.parameters() if tensor.requires_grad)
        metrics = metrics_of(history, keep=recipe.keep, parameters=parameters)
        write_json(METRICS, metrics | {"made_with": card.made_with})
        write_bytes(AUGMENTED, drawn(AUGMENTED, lambda: draw_augmented(samples)))
    return ending


if __name__ == "__main__":
    run_stage("train", main)
