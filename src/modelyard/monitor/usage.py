"""What instances use of the machine: cores and memory, sampled from the kernel's accounts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

_MB = 1024 * 1024


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

    def sample(self, pids: Iterable[int]) -> None:
        """Measure the processes and all they started; those not named are forgotten."""
        now = time.monotonic()
        last, usage = {}, {}
        for pid in pids:
            seconds, memory = _totals(pid)
            before, then = self._last.get(pid, (seconds, now))
            rate = (seconds - before) / (now - then) if now > then else 0.0
            last[pid] = (seconds, now)
            usage[pid] = Usage(round(max(0.0, rate), 3), memory // _MB)
        self._last, self._usage = last, usage

    def of(self, pid: int | None) -> Usage:
        """The latest reading of a process; zeroes before the first."""
        return self._usage.get(pid or 0, Usage())


def _totals(pid: int) -> tuple[float, int]:
    """CPU seconds and resident bytes of a process and its descendants."""
    seconds, memory = 0.0, 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                seconds += times.user + times.system
                memory += process.memory_info().rss
    return seconds, memory
