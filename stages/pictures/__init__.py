"""Picture files from outside."""
