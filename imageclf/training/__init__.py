"""Training: the loop, the step, its processes, what is kept."""
