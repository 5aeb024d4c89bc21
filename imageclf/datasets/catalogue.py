"""The built-in data sets by name: the ENTRIES of every module in `builtin`.

Their hashes are those of TensorFlow Datasets, Keras and, for npm, the registry; torchvision's MD5s agree.
"""

import importlib
import pkgutil

from imageclf.datasets import builtin
from imageclf.datasets.source import Entry


def _entries() -> dict[str, Entry]:
    names = [f"{builtin.__name__}.{found.name}" for found in pkgutil.iter_modules(builtin.__path__)]
    modules = [importlib.import_module(name) for name in names]
    entries = [entry for module in modules for entry in module.ENTRIES]
    catalogue = {entry.name: entry for entry in entries}
    if len(catalogue) < len(entries):
        raise ValueError(f"two modules of {builtin.__name__} name the same data set")
    return catalogue


CATALOGUE = _entries()
