"""Prepared images, their order and their augmentation."""
