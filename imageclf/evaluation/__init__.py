"""Predictions, scores, calibration, tables and the report."""
