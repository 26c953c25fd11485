"""Processes that outlive the one that started them, and how to know them again.

A pid alone may be somebody else's by the time we look, so a process is known by its pid *and* the
kernel's start time of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_POLL_S = 0.02

# Kept so that their exit status can be collected: a child nobody reaps stays a zombie.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """``start_ticks``: field 22 of ``/proc/<pid>/stat``, clock ticks since boot."""

    pid: int
    start_ticks: int


def _stat(pid: int) -> tuple[str, int] | None:
    """State letter and start time of ``pid``, or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # The command name may hold blanks and parentheses; the fields start behind the last one.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a living process; None for one that is gone or only waits to be reaped."""
    found = _stat(pid)
    if found is None or found[0] in "ZX":
        return None
    return ProcessIdentity(pid, found[1])


def alive(process: ProcessIdentity) -> bool:
    """Whether this very process still runs (a zombie does not)."""
    return identify(process.pid) == process


def send(process: ProcessIdentity, number: signal.Signals) -> bool:
    """Signal this very process; False when it is gone."""
    if not alive(process):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, number)
        return True
    return False


def kill_group(process: ProcessIdentity) -> None:
    """SIGKILL the process and everything in the session it leads."""
    if not alive(process):
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def wait_gone(process: ProcessIdentity, timeout_s: float) -> bool:
    """Wait until the process has ended; False when ``timeout_s`` passed first."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while alive(process):
        if asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True


def spawn_detached(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    pass_fds: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
) -> ProcessIdentity:
    """Start ``argv`` in a session of its own, output appended to ``log``, input from ``stdin``.

    It goes on when we die. Raises ``OSError`` when it cannot be started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=stdin,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    found = _stat(child.pid)
    if found is None:
        raise OSError(f"{argv[0]} ended before it could be observed")
    _children[child.pid] = child
    return ProcessIdentity(child.pid, found[1])


def reap(pid: int) -> None:
    """Collect the exit status of a child of ours; harmless for other processes."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]


def watch_exit(process: ProcessIdentity, callback: Callable[[], None]) -> Callable[[], None]:
    """Call ``callback`` in the running loop when the process ends; returns how to stop watching."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        handle = loop.call_soon(callback)
        return handle.cancel
    if not alive(process):
        os.close(descriptor)
        handle = loop.call_soon(callback)
        return handle.cancel
    watching = True

    def forget() -> None:
        nonlocal watching
        if watching:
            watching = False
            loop.remove_reader(descriptor)
            os.close(descriptor)

    def ended() -> None:
        forget()
        reap(process.pid)
        callback()

    loop.add_reader(descriptor, ended)
    return forget


def write_record(path: Path, process: ProcessIdentity, **more: object) -> None:
    """Leave word of a running process for whoever comes next; atomic, mode 0600."""
    write_private(path, json.dumps({**asdict(process), **more}).encode())


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` atomically by ``content``, readable by the owner only."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    aside.replace(path)


def read_record(path: Path) -> ProcessIdentity | None:
    """The living process a record names, or None."""
    try:
        data = json.loads(path.read_bytes())
        process = ProcessIdentity(int(data["pid"]), int(data["start_ticks"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return process if alive(process) else None
