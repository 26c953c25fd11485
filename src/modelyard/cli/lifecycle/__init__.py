"""Starting, watching, stopping and looking at the platform's processes."""
