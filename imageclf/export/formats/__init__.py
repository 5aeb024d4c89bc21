"""One module per export format: `write` makes the file, READER names the module that runs it."""
