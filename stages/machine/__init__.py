"""What the machine has to compute with."""
