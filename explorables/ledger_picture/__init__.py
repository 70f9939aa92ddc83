"""The claims ledger as a picture: one disc for each claim."""
