"""Forty digits, answered in batches that the reader chooses."""
