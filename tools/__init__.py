"""What people run by hand: python -m tools.NAME."""

import imageclf  # noqa: F401 - first: Ctrl-C while the rest is imported is one line
