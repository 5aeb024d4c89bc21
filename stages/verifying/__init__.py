"""Whether what lies here is what dvc.lock says, and what repairs it where it is not."""
