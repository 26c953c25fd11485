"""Whether the kernel ended processes of a control group for want of memory.

Engines say so of a container, but not all of them, and not on every machine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class MemoryAccount:
    """``path``: the kernel's file that counts the kills (v1 ``memory.oom_control``, v2
    ``memory.events``).
    """

    path: Path

    def kills(self) -> int:
        """How many processes were ended so far; 0 when the group is gone."""
        try:
            found = _KILLS.search(self.path.read_text())
        except OSError:
            return 0
        return int(found[1]) if found else 0


def account_of(pid: int, root: Path = Path("/sys/fs/cgroup")) -> MemoryAccount | None:
    """The account of a living process; None where the kernel keeps none."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return None
    for path in _places(lines, root):
        if path.exists():
            return MemoryAccount(path)
    return None


def _places(lines: list[str], root: Path) -> list[Path]:
    """Where the file may be: of the v1 controller first, where there is one."""
    found: list[Path] = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if "memory" in controllers.split(","):
            found.insert(0, root / "memory" / group.lstrip("/") / "memory.oom_control")
        elif not controllers:
            found.append(root / group.lstrip("/") / "memory.events")
    return found
