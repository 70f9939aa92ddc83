"""Running averages that chase a moving truth."""
