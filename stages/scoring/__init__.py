"""Predictions, and the scores that are pure functions of them."""
