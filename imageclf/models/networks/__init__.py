"""Our own networks, one module each."""
