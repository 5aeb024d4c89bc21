"""Where images come from: built-in data sets, folders, labels.csv, downloads."""
