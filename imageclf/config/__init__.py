"""params.yaml: one module per section, and the reader."""
