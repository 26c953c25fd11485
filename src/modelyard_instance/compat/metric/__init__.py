"""Import path of the metrics that inference scripts update (models.md §4.1)."""
