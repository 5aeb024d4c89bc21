"""What prepare alone needs."""
