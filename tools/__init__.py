"""Tools that people run by hand: python -m tools.NAME."""

import imageclf  # noqa: F401 - first, so that Ctrl-C during the other imports ends in one line
