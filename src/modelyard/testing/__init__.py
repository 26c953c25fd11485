"""In-memory twins of the world outside the database; the real loop runs on them."""
