"""What instances use of the machine: cores and memory, sampled from the kernel's accounts."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_MB = 1024 * 1024
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """``cpu_cores``: average since the last sample; ``memory_mb``: resident now."""

    cpu_cores: float = 0.0
    memory_mb: int = 0


class UsageMeter:
    """Remembers CPU times between samples, so that a reading is a rate and not a sum."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[float, float]] = {}
        self._usage: dict[int, Usage] = {}

    async def sample(self, pids: Iterable[int]) -> None:
        """Measure the sessions led by these processes; those not named are forgotten."""
        measured = await asyncio.to_thread(accounts)
        now = time.monotonic()
        last, usage = {}, {}
        for pid in pids:
            seconds, memory = measured.get(pid, (0.0, 0))
            before, then = self._last.get(pid, (seconds, now))
            rate = (seconds - before) / (now - then) if now > then else 0.0
            last[pid] = (seconds, now)
            usage[pid] = Usage(round(max(0.0, rate), 3), memory // _MB)
        self._last, self._usage = last, usage

    def of(self, pid: int | None) -> Usage:
        """The latest reading of a process; zeroes before the first."""
        return self._usage.get(pid or 0, Usage())


def accounts() -> dict[int, tuple[float, int]]:
    """CPU seconds and resident bytes of every session on the machine, by its leader's pid.

    One walk over ``/proc`` for all instances: each leads a session of its own.
    """
    totals: dict[int, tuple[float, int]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        # The command name may hold blanks and parentheses; the fields start behind the last one.
        fields = text.rpartition(")")[2].split()
        session, ticks, pages = int(fields[3]), int(fields[11]) + int(fields[12]), int(fields[21])
        seconds, memory = totals.get(session, (0.0, 0))
        totals[session] = (seconds + ticks / _TICKS, memory + pages * _PAGE)
    return totals
