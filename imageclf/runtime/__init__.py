"""Basics of every stage: start and end, errors, progress, files, the operating system."""
