"""Which of the script's methods a request is for (models.md §4.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelyard_instance.inference.base_services import SingleNodeService
from modelyard_instance.inference.payloads import NoSuchApi

BATCH_URL = "/batch"
"""Where old packages of machine learning are asked for ``batch_inference``."""
BATCH = "batch"


def hook_of(service: SingleNodeService, name: str) -> Callable[[Any], Any]:
    """``inference``, or ``batch_inference`` for the ``name`` of ``RequestHeader.hook``.

    Raises ``NoSuchApi`` when the script has none.
    """
    if name != BATCH:
        return service.inference
    hook: Callable[[Any], Any] | None = getattr(service, "batch_inference", None)
    if hook is None:
        raise NoSuchApi(f"The model has no api {BATCH_URL!r}, and its script no batch_inference.")
    return hook
