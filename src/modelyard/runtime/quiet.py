"""Whether anybody speaks with a port of this machine, as the kernel's table of connections says."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_TABLE = Path("/proc/net/tcp")
_ESTABLISHED = "01"
_LOOPBACK = "0100007F"


def connections_to(port: int) -> int:
    """How many connections to 127.0.0.1:``port`` are open, seen from those who made them."""
    with _TABLE.open(encoding="ascii") as lines:
        return count(lines, port)


def count(lines: Iterable[str], port: int) -> int:
    """The same, of the lines of ``/proc/net/tcp``. Pure.

    >>> row = "  1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000"
    >>> count([row], 8080)
    1
    """
    wanted = f"{_LOOPBACK}:{port:04X}"
    rows = (line.split(maxsplit=4) for line in lines)
    return sum(len(row) > 3 and row[2] == wanted and row[3] == _ESTABLISHED for row in rows)
