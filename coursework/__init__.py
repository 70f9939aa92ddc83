"""Coursework: problem sets, and the grader for them."""
