"""``modelyard prove``: a storm of updates under load, and what became of the predictions."""
