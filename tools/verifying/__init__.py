"""Checks of what is there against what dvc.lock says."""
