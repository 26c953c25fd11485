"""What the platform's own Python offers a package that has no environment of its own."""

from __future__ import annotations

import importlib.util
import sys


def python_here() -> tuple[int, int]:
    """The version of this Python."""
    return sys.version_info.major, sys.version_info.minor


def available_here(module: str) -> bool:
    """Whether a top-level module can be imported here; it is looked for and not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError, AttributeError):
        return module in sys.modules
