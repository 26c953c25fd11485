"""Finding and ending everything an instance has started, however far it wandered.

Process groups and PDEATHSIG miss grandchildren, and a session can be left; the mark in the
environment is inherited by all. A process that wipes its environment escapes this; the instance's
cgroup and user (``runtime/limits/instance_limits.py``) have it still.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from modelyard_instance.environment import MARK

_ROUNDS = 10


def marked(instance_id: str) -> list[int]:
    """Pids of the living processes that carry the instance's mark."""
    needle = f"{MARK}={instance_id}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        # Another user's, or gone meanwhile; a zombie's is empty.
        with contextlib.suppress(OSError):
            if needle in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def end_all(instance_id: str) -> None:
    """SIGKILL every process of the instance, also those forked while we look."""
    for _ in range(_ROUNDS):
        pids = [pid for pid in marked(instance_id) if pid != os.getpid()]
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
