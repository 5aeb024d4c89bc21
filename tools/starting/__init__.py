"""Start on own images: named recipes, a look at a folder, the choice of params."""
