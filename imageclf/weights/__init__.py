"""Initial weights: read, match, load and freeze them."""
