"""The grid of a sweep and its table of results."""
