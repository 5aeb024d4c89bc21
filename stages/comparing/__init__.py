"""What compare needs, and sweep to rank: revisions, their predictions, and what a difference means."""
