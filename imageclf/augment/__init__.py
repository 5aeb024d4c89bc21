"""What training images go through before the network sees them."""
