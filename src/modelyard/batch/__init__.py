"""Batch runs: files, rows or a manifest to a model and back, exactly once (inference.md §2)."""
