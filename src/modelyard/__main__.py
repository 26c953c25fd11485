"""``python -m modelyard``."""

from modelyard.cli.app import main

main()
