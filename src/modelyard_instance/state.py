"""What an instance says of itself: ``state.json``, and the lock that keeps it single."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

STARTING = "starting"
READY = "ready"
DRAINING = "draining"
FAILED = "failed"


def start_ticks(pid: int) -> int:
    """Field 22 of ``/proc/<pid>/stat``: clock ticks from boot to the process's start."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    return int(text.rpartition(")")[2].split()[19])


def take_lock(folder: Path) -> int | None:
    """The descriptor of the folder's lock, held while we live; None when another front has it."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


class StateFile:
    """``state.json``, replaced atomically at each change.

    ``phase``: ``starting``, ``ready``, ``draining`` or ``failed``; ``message`` says why.
    """

    def __init__(
        self, folder: Path, *, instance_id: str, service_id: str, model_id: str, port: int
    ) -> None:
        self._path = folder / "state.json"
        self._fixed: dict[str, str | int] = {
            "instance_id": instance_id,
            "service_id": service_id,
            "model_id": model_id,
            "pid": os.getpid(),
            "start_ticks": start_ticks(os.getpid()),
            "port": port,
        }

    def write(self, phase: str, message: str) -> None:
        """Record the phase. Raises ``OSError`` when the folder cannot be written."""
        aside = self._path.with_name(".state.json.new")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps({**self._fixed, "phase": phase, "message": message}).encode())
        aside.replace(self._path)
