"""Stored training curves of chapter 7: who reaches a threshold, and when."""
