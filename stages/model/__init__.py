"""Networks by name, and the classifier that a run leaves behind."""
