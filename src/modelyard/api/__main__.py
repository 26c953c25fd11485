"""Print the contract: ``python -m modelyard.api > openapi.json`` (``make openapi``)."""

from __future__ import annotations

import json
import sys

from modelyard.api.contract.document import openapi_document
from modelyard.api.routers import all_routers


def main() -> None:
    """The document of all routes, as the repository keeps it."""
    json.dump(openapi_document(all_routers()), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
