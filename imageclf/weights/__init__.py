"""Weights that training starts from: read, matched, loaded, frozen."""
