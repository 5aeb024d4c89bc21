"""Checks of the workspace and the cache against dvc.lock."""
