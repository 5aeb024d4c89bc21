"""Images: decoded, checked, split, packed, drawn."""
