"""``python -m modelyard_instance.trial --dir DIR``: can a worker run as shut in as DIR says?

Exit status 0 when it can; what stands in the way is printed.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from modelyard_instance.confine import enter, read_confinement


def main() -> NoReturn:
    """Enter, and start the interpreter anew as the user of an instance."""
    parser = argparse.ArgumentParser(prog="modelyard_instance.trial")
    parser.add_argument("--dir", type=Path, required=True)
    confinement = read_confinement(parser.parse_args().dir)
    os.chdir("/")
    if confinement is not None:
        try:
            enter(confinement)
        except OSError as error:
            sys.exit(str(error.strerror or error))
    os.execv(sys.executable, [sys.executable, "-c", "import modelyard_instance.worker"])  # noqa: S606


if __name__ == "__main__":
    main()
