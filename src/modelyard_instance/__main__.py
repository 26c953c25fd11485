"""``python -m modelyard_instance --dir DIR``: run the front of one instance."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    """Exit status: 0 ended politely or another front holds the folder, 2 unusable folder."""
    parser = argparse.ArgumentParser(prog="modelyard_instance", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="the instance's folder")
    folder: Path = parser.parse_args().dir

    from modelyard_instance.front import run

    return run(folder.absolute())


if __name__ == "__main__":
    sys.exit(main())
