"""Imports of the engines that a model's own environment may lack."""

from __future__ import annotations

import importlib
from typing import Any


class EngineMissing(ImportError):
    """A base class needs a package that the model's environment lacks."""


def need(module: str, why: str) -> Any:
    """Import ``module`` for ``why``. Raises ``EngineMissing``, which names both and the remedy."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise EngineMissing(
            f"{why} needs the package {module.partition('.')[0]!r}, which is not installed in the "
            f"model's environment ({error}). Add it to the dependencies of config.json."
        ) from error
