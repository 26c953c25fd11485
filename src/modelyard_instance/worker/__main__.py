"""``python -m modelyard_instance.worker``: the process that holds the model."""

import sys

from modelyard_instance.worker.main import main

if __name__ == "__main__":
    sys.exit(main())
