"""Labels that are probably wrong, by the answers of classifiers that did not train on their images.

Confident learning (Northcutt et al. 2021, doi:10.1613/jair.1.12125). It is a few lines here; the package of its authors
would bring scikit-learn and more.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Suspects:
    """Images whose label is probably wrong, the most certain first: places (n,), and the likelier classes (n,).

    `probabilities` (n,) are those of the likelier classes.
    """

    places: np.ndarray
    likelier: np.ndarray
    probabilities: np.ndarray


def find_suspects(labels: np.ndarray, own: np.ndarray, classes: np.ndarray, probabilities: np.ndarray) -> Suspects:
    """In: labels (N,), their probabilities (N,), and of each image the best classes (N, K) with theirs (N, K).

    An image passes for a class if the class's probability is at least its mean over the images with this label. A
    suspect passes for other classes than its label and is likelier one of them. It is the more certain, the less
    probable its label is beside it.
    """
    names, of_class = np.unique(labels, return_inverse=True)
    usual = dict(zip(names.tolist(), np.bincount(of_class, own) / np.bincount(of_class), strict=True))
    least = np.vectorize(lambda name: usual.get(name, np.inf), otypes=[float])(classes)
    passes = np.where((probabilities >= least) & (classes != labels[:, None]), probabilities, -1.0)
    best, every = passes.argmax(1), np.arange(len(labels))
    ahead = passes[every, best] - own
    places = np.flatnonzero((passes[every, best] >= 0) & (ahead > 0))
    places = places[np.argsort(-ahead[places], kind="stable")]
    return Suspects(places, classes[places, best[places]], passes[places, best[places]])
