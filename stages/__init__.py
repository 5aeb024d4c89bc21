"""The pipeline: one module per DVC stage (a verb), the packages they share (nouns) beside them."""
