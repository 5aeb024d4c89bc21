"""Is the difference between two runs real or noise."""
