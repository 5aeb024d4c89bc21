"""Where the built-in data sets come from."""
