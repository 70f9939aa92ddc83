"""Experiments too long for a notebook: a module for each, its results beside it.

``python -m experiments`` regenerates every stored table; ``python -m experiments NAME``
one of them. The claims ledger of the book is made from these tables.
"""
