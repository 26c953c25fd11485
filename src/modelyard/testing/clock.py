"""A clock that tests move."""

from __future__ import annotations

import itertools


class FakeClock:
    """Starts at ``now`` (ms); ids count up, so that a failing test reads the same twice."""

    def __init__(self, now: int = 1_800_000_000_000) -> None:
        self.now = now
        self._ids = itertools.count(1)

    def now_ms(self) -> int:
        return self.now

    def pass_ms(self, ms: int) -> None:
        self.now += ms

    def new_uuid(self) -> str:
        return f"00000000-0000-4000-8000-{next(self._ids):012d}"

    def new_hex(self, digits: int = 32) -> str:
        return f"{next(self._ids):0{digits}x}"
