"""Classifiers as files that other programs run."""
