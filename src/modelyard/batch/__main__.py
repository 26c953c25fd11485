"""``python -m modelyard.batch --run <folder>``: the driver of one run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from modelyard.batch.driver.run import drive
from modelyard.batch.spec import BadRun
from modelyard.objects.store import Objects
from modelyard.settings import Settings


def main() -> int:
    """Carry a run on; 0 where it is over or was told to stop, 2 where its folder is no run's."""
    parser = argparse.ArgumentParser(prog="modelyard.batch", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="the run's folder")
    folder = parser.parse_args().run.absolute()
    try:
        return drive(folder, Objects(Settings().objects))
    except BadRun as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
