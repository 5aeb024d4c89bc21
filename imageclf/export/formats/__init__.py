"""Formats of exported files, a module each: `write` makes one, and READER names the module that puts it to work."""
