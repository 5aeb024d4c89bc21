"""Networks, a module each."""
