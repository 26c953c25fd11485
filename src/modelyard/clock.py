"""Time, ids and randomness as arguments, so that tests own them."""

from __future__ import annotations

import secrets
import time
import uuid
from typing import Protocol


class Clock(Protocol):
    """What the platform asks of time and chance."""

    def now_ms(self) -> int:
        """Wall clock: integer milliseconds since 1970-01-01T00:00:00Z."""
        ...

    def new_uuid(self) -> str:
        """A fresh UUID, as service and model ids are (services.md, conventions)."""
        ...

    def new_hex(self, digits: int = 32) -> str:
        """``digits`` random hexadecimal digits, as project and user ids are."""
        ...


class SystemClock:
    """The real thing."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def new_uuid(self) -> str:
        return str(uuid.uuid4())

    def new_hex(self, digits: int = 32) -> str:
        return secrets.token_hex((digits + 1) // 2)[:digits]
