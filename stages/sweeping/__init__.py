"""What sweep.py runs and how it ranks."""
