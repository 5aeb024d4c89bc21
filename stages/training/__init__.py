"""The sharded training step and what steers it."""
