"""The built-in data sets, a module each."""
