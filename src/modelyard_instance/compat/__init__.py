"""Packages that inference scripts import by their ModelArts names, as ``model_service``, ``log``.

They are found at the top level in the process of a model only (models.md §4.1), so that what else
shares its Python environment never meets a package called ``log``.
"""

from __future__ import annotations

import sys
from pathlib import Path


def make_importable() -> None:
    """Put the folder on ``sys.path``, in front of where ``modelyard_instance`` is found.

    What was in front of that, as a service's ``PYTHONPATH`` can be, still is. Harmless when called
    again.
    """
    # Not ``__file__``: a fork server of a package's own environment moves the path alone.
    compat = __path__[0]
    found_in = str(Path(compat).parent.parent)
    if compat not in sys.path:
        place = sys.path.index(found_in) if found_in in sys.path else len(sys.path)
        sys.path.insert(place, compat)
