"""The five stages of dvc.yaml, a script each."""

import imageclf  # noqa: F401 - first, so that Ctrl-C during the other imports ends in one line
