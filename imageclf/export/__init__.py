"""Exported files, and the check that they agree with the trained model."""
