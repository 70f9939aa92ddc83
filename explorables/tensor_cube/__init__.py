"""One tensor, and the entries that share a mean in each norm."""
