"""Environments of model packages: one per distinct set of dependencies (models.md §3.4, §9).

``wanted`` and ``implied`` say what a package wants, ``relaxing`` what may stand in for it (all
pure); ``installer`` runs uv, ``builder`` makes one environment, ``shared`` keeps them all.
"""
