"""``python -m modelyard_instance --dir DIR``: run the front of one instance."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modelyard_instance.sandbox.confine import join, read_confinement


def main() -> int:
    """Exit status: 0 ended politely or another front holds the folder, 2 it cannot be used."""
    parser = argparse.ArgumentParser(prog="modelyard_instance", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="the instance's folder")
    folder: Path = parser.parse_args().dir.absolute()
    try:
        confinement = read_confinement(folder)
        if confinement is not None:
            # Before the rest is even loaded: all that this process will ever use counts.
            join(confinement)
    except (OSError, ValueError) as error:
        print(f"the instance cannot be held to its limits: {error}", file=sys.stderr)
        return 2

    _forget_former_code()
    from modelyard_instance.server.front import run

    return run(folder)


def _forget_former_code() -> None:
    """Let nothing be imported beside modules of release 0.1.

    A zygote of that release forks fronts also after its code was replaced by this one's. To be
    removed with release 0.3.
    """
    package = "modelyard_instance"
    if f"{package}.front" in sys.modules:
        for name in [one for one in sys.modules if one.partition(".")[0] == package]:
            del sys.modules[name]


if __name__ == "__main__":
    sys.exit(main())
