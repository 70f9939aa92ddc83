"""A shift at test time, and what re-estimated statistics repair."""
