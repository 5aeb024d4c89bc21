"""A small real repository of git and DVC whose pipeline takes milliseconds: its stages write what the real ones would.

The more lr is away from 0.1, the more images are wrong; the seed says which.
"""

import shutil
from pathlib import Path

from imageclf import CODE_FOLDERS
from imageclf.images.dataset import NOTHING_TO_RANK
from tests.conftest import Project, environment_of
from tests.imports import ROOT

PIPELINE = """
stages:
  train:
    cmd: python train.py
    deps: [train.py]
    params: [train]
    outs: [models/classifier, metrics/history.csv: {cache: false}]
    metrics: [metrics/train.json: {cache: false}]
  evaluate:
    cmd: python evaluate.py
    deps: [evaluate.py, models/classifier]
    outs: [metrics/predictions.csv]
"""
TRAIN = (
    f"""
NO_VAL = 'train: there are {NOTHING_TO_RANK}'
"""
    + """
import json, os, pathlib, random, re, sys, time
from imageclf.runtime.errors import Pruned
from imageclf.training.pruning import prune
text = pathlib.Path('params.yaml').read_text().replace('  lr: auto', '  lr: 0.15')
lr, seed = (float(re.findall(rf'^  {key}: (\\S+)', text, re.M)[-1]) for key in ('lr', 'seed'))
root = pathlib.Path(os.environ.get('DVC_ROOT', '.'))
fail = root / f'fail-{lr}-{seed:.0f}'
if (root / 'no-val').exists() and 'RANKED_BY_VALIDATION' in os.environ:
    fail = root / 'no-val'
if fail.exists():
    print(NO_VAL if fail.name == 'no-val' else 'lost its way; lower train.lr', file=sys.stderr)
    sys.exit(int(fail.read_text() or 3))
if (root / f'wait-{lr}-{seed:.0f}').exists():
    (root / 'train.pid').write_text(str(os.getpid()))
    time.sleep(3600)
draw = random.Random(f'{lr} {seed}')
right = [draw.random() > 0.1 + abs(lr - 0.1) for _ in range(400)]
pathlib.Path('models').mkdir(exist_ok=True)
pathlib.Path('models/classifier').write_text(json.dumps(right))
pathlib.Path('metrics').mkdir(exist_ok=True)
top1 = round(0.9 - abs(lr - 0.1) + seed / 1000, 4)
by_epoch = [round(top1 * epoch / 9, 6) for epoch in range(1, 10)]
for epoch in range(1, 10):
    try:
        prune(by_epoch[:epoch], 9)
    except Pruned as reason:
        print(reason, file=sys.stderr)
        sys.exit(reason.exit_code)
pathlib.Path('metrics/history.csv').write_text('val_top1\\n' + ''.join(f'{value}\\n' for value in by_epoch))
pathlib.Path('metrics/train.json').write_text(json.dumps({'val': {'top1': top1, 'loss': 0.3}}))
with (root / 'runs.txt').open('a') as file:
    file.write(f'{lr} {seed:.0f}\\n')
"""
)
EVALUATE = """
import csv, json, pathlib
classes = json.loads(pathlib.Path('classes.json').read_text())
right = json.loads(pathlib.Path('models/classifier').read_text())
with open('metrics/predictions.csv', 'w', newline='', encoding='utf-8') as file:
    writer = csv.writer(file, lineterminator='\\n')
    writer.writerow(['id', 'path', 'label', 'prediction', 'confidence', *(f'p_{name}' for name in classes)])
    for place, good in enumerate(right):
        label, other = classes[place % 2], classes[1 - place % 2]
        said = label if good else other
        shares = ['0.900000' if name == said else '0.100000' for name in classes]
        writer.writerow([f'test-{place}', f'stub/{place}', label, said, '0.900000', *shares])
"""


def make_stub(folder: Path, classes: str = '["cat", "dog"]') -> Project:
    """The repository before anything ran; params.yaml is the shipped one."""
    files = {"dvc.yaml": PIPELINE, "train.py": TRAIN, "evaluate.py": EVALUATE, "classes.json": classes}
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    (folder / ".gitignore").write_text(
        "/models\n/metrics/predictions.csv\n/metrics/compare\n/metrics/label_errors\n/logs\n/runs.txt\n/fail-*\n/no-val\n/wait-*\n/train.pid\n/stages\n"
    )
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text((ROOT / ".dvc/config").read_text().partition("[plots]")[0])
    for name in CODE_FOLDERS:
        (folder / name).symlink_to(ROOT / name)
    project = Project(folder, environment_of(folder))
    project.run("git", "init", "-q", "-b", "main")
    return project


def commit(project: Project, message: str) -> None:
    project.run("git", "add", "-A")
    project.run("git", "commit", "-q", "-m", message)
