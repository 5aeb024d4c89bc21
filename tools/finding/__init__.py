"""The parts of find_lr."""
