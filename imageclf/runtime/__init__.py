"""What every stage stands on: how it starts and ends, errors, progress, files, the operating system."""
