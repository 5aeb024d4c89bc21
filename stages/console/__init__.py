"""What a person sees of a stage: its lines, its progress, its errors."""
