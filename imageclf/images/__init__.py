"""Decode, check, split, pack and draw images."""
