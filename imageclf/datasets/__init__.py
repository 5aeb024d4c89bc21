"""Sources of images: built-in data sets, downloads, folders, labels.csv."""
