"""The proof of the first two promises, as a program: the same bytes in every world, and after every interruption."""
