"""Side by side with what a user would pick instead."""

import imageclf  # noqa: F401 - first, since it says to numpy how many threads to start
