"""Import paths of MXNet packages (models.md §4.1, §9)."""
