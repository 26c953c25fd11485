"""Warm starts: fronts forked from a process that has imported what they need.

Workers of packages with an environment of their own are forked in it
(``runtime/local/env_zygotes.py``).

One zygote per engine and home (``modelyard_instance/zygotes/zygote.py``), started at the first
start of an instance of that engine, which itself starts plainly, as does every one that a zygote
cannot serve. A zygote outlives the control plane and is found again by its socket; its name says
which code and which packages it has imported, so that a changed installation gets another. It ends
by itself when nobody has wanted it for long, and with the platform (``end_all``). Besides its
memory, most of which its instances share, it costs nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import modelyard_instance
from modelyard import processes
from modelyard.processes import ProcessIdentity
from modelyard.runtime.local.sweep import marked
from modelyard_instance.environment import THREADS, base_environment
from modelyard_instance.forks import LONGEST_ID, PLACE
from modelyard_instance.zygotes.zygote import ENGINES, UNFIT

_PATIENCE_S = 2.0
_ROOM = 64
PREFIX = "warm-"


class WarmStarts:
    """Zygotes of the platform whose Unix sockets lie in ``sockets_dir``, logs in ``logs_dir``.

    ``code``: digits that are others when what they have imported is.
    """

    def __init__(self, sockets_dir: Path, logs_dir: Path) -> None:
        self.sockets_dir = sockets_dir
        self.logs_dir = logs_dir
        self.code = _fingerprint()
        self._lock = threading.Lock()
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def launch(
        self,
        engine: str,
        instance_id: str,
        *,
        folder: Path,
        environment: Mapping[str, str],
        log: Path,
    ) -> ProcessIdentity | None:
        """A front for the instance in ``folder``, forked from the zygote of ``engine``.

        None when there is no zygote that could; one is being started then. Blocks.
        """
        if len(instance_id) > LONGEST_ID:
            return None
        path = self.socket_of(engine)
        order = {
            "dir": str(folder),
            "instance_id": instance_id,
            "environment": dict(environment),
            "log": str(log),
        }
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(_PATIENCE_S)
                sock.connect(str(path))
                sock.sendall(json.dumps(order).encode())
                told = sock.recv(_ROOM)
            return processes.identify(int(told))
        except (OSError, ValueError):
            self.prepare(engine)
            return None

    def prepare(self, engine: str) -> None:
        """Start the zygote of ``engine`` unless it is on its way; does not wait for it."""
        path = self.socket_of(engine)
        with self._lock:
            before = self._started.get(path.name)
            # One that was unfit for forking would be so again.
            if before is not None and before.poll() in (None, UNFIT):
                return
            if any(serves(process, path) for process in zygotes(self.sockets_dir)):
                return
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._started[path.name] = self._start(path, engine)

    def _start(self, path: Path, engine: str) -> subprocess.Popen[bytes]:
        return start_zygote(
            [
                "-m",
                "modelyard_instance.zygotes.zygote",
                "--socket",
                str(path),
                "--engine",
                engine.lower(),
            ],
            zygote_environment(),
            self.logs_dir / f"{path.stem}.log",
        )

    def socket_of(self, engine: str) -> Path:
        """Where the zygote of ``engine`` listens; one for all that are not installed."""
        modules = ENGINES.get(engine.lower(), ())
        there = modules and importlib.util.find_spec(modules[-1].partition(".")[0])
        name = engine.lower() if there else "any"
        return self.sockets_dir / f"{PREFIX}{name}-{self.code}.sock"


def zygote_environment() -> dict[str, str]:
    """What any zygote finds in its environment: one thread, and room for a mark."""
    return {
        **base_environment(PLACE, os.environ),
        **dict.fromkeys(THREADS, "1"),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONIOENCODING": "utf-8:backslashreplace",
    }


def start_zygote(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Start our interpreter, detached, what it says to ``log``. Raises ``OSError``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def zygotes(sockets_dir: Path) -> list[ProcessIdentity]:
    """The zygotes that belong to ``sockets_dir``, also those still importing."""
    # What they have forked carries their command line, but a mark of its own.
    found = [processes.identify(pid) for pid in marked(PLACE)]
    return [one for one in found if one is not None and serves(one, sockets_dir / PREFIX)]


def serves(process: ProcessIdentity, path: Path) -> bool:
    """Whether it was started to listen at ``path``, or at one that begins so."""
    with contextlib.suppress(OSError):
        return os.fsencode(str(path)) in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    return False


async def end_all(sockets_dir: Path) -> int:
    """End the zygotes of ``sockets_dir``; how many there were. What they forked goes on."""
    found = zygotes(sockets_dir)
    for process in found:
        processes.send(process, signal.SIGTERM)
    for process in found:
        if not await processes.wait_gone(process, _PATIENCE_S):
            processes.send(process, signal.SIGKILL)
            await processes.wait_gone(process, _PATIENCE_S)
    return len(found)


def _fingerprint() -> str:
    """Eight digits for the interpreter, the instances' code, and the packages beside it."""
    code = sorted(Path(modelyard_instance.__file__).parent.rglob("*.py"))
    packages = [Path(one) for one in sys.path if one.endswith("-packages")]
    told = [sys.executable, sys.version]
    for path in (*code, *packages):
        with contextlib.suppress(OSError):
            told.append(f"{path} {path.stat().st_mtime_ns}")
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:8]
