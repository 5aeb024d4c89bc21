"""What evaluate alone needs."""
