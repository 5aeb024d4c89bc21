"""The five stages of dvc.yaml, a script each."""

import imageclf  # noqa: F401 - first: Ctrl-C while the rest is imported is one line
