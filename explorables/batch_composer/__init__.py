"""A batch that the reader composes, and what its statistics do."""
