"""The living figures of the book: one folder each, and what they share."""
