"""Every framework of the book runs the same cases, and bnlib checks the answers.

A framework is a folder: its head (``about.toml``), its scripts, and the stored records
of what they answered. ``python -m frameworks`` runs the scripts; `frameworks.run` says
how. They run in the frameworks' own Pythons, from 3.6 on, beside the files of
``within``; the rest needs bnlib and its Python.
"""
