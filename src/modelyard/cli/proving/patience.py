"""Calls that are made again while the control plane is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from modelyard.client.failures import ApiFailure, ClientError, PlatformDown

T = TypeVar("T")

LIMIT_S = 60.0
_PAUSE_S = 0.05
_AWAY = (502, 503, 504)


def patiently(call: Callable[[], T], limit_s: float = LIMIT_S) -> T:
    """What ``call`` gives; for up to ``limit_s`` seconds it is made again when nobody answers.

    Raises ``ClientError`` like ``call`` for every other failure, and when the time is over.
    """
    deadline = time.monotonic() + limit_s
    while True:
        try:
            return call()
        except ClientError as failure:
            if not _away(failure) or time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE_S)


def _away(failure: ClientError) -> bool:
    return isinstance(failure, PlatformDown) or (
        isinstance(failure, ApiFailure) and failure.status in _AWAY
    )
