"""What compare and sweep need: revisions, their predictions, and what a difference means."""
