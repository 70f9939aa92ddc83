"""Every framework of the book runs the same cases, and bnlib checks the answers.

``python -m frameworks`` runs the adapters; `frameworks.runner` says how. The adapters
run in the frameworks' own Pythons, from 3.6 on; the rest needs bnlib and its Python.
"""
