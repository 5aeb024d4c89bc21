"""Augmentation with a few params set and all others off."""

from typing import Any

from imageclf.augment.transforms import NO_AUGMENTATION, Augment


def augmenting(seed: int, **changes: Any) -> Augment:
    return Augment(seed, NO_AUGMENTATION.model_copy(update=changes))
