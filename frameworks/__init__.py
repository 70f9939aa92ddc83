"""Every framework of the book runs the same cases, and bnlib checks what they say.

``python -m frameworks`` runs the adapters of one group of frameworks; `runner` says how.
The files here, `protocol` and the adapters apart, need bnlib and a Python of today.
`protocol` and the adapters run in the frameworks' own Pythons, from 3.6 on.
"""
