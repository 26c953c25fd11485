"""Warm starts in packages' own environments: one zygote per environment and engine.

As ``runtime/local/zygotes.py``'s, but of foreign code
(``modelyard_instance/zygotes/env_zygote.py``): each is shut in as an instance is, in a folder
beside theirs, and ends when its environment is removed. An instance's front reaches it by the
socket named in its environment, or starts its workers plainly.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from modelyard import processes
from modelyard.processes import ProcessIdentity
from modelyard.runtime import folders
from modelyard.runtime.limits import instance_limits
from modelyard.runtime.limits.instance_limits import Limits
from modelyard.runtime.local.zygotes import (
    PREFIX,
    WarmStarts,
    serves,
    start_zygote,
    zygote_environment,
    zygotes,
)
from modelyard_instance.environment import LIBRARY, lend_packages, work_folder
from modelyard_instance.zygotes.zygote import ENGINES, IDLE_S, UNFIT

MOST = 8
"""Zygotes at a time: each holds the imports of an environment in memory."""

PERIOD_S = 60.0
"""How often those that are wanted no more are looked for."""

_UNWANTED_S = IDLE_S + PERIOD_S
_AGAIN_AFTER_S = 60.0
_MANIFEST = "environment.json"


class EnvZygotes:
    """Zygotes of packages' environments, beside those of ``warm``, held by ``limits`` if any."""

    def __init__(self, warm: WarmStarts, instances_dir: Path, held: Limits | None) -> None:
        self._warm = warm
        self._dir = folders.reserves_dir(instances_dir)
        self._limits = held
        self._lock = threading.Lock()
        self._started: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
        self._found: dict[str, ProcessIdentity] = {}

    def lend(self, python: str, engine: str, project_id: str) -> Path | None:
        """The socket of the zygote in the environment of ``python``; it is started if need be.

        Nobody is behind it until it has imported all. None where there may be none. One for each
        project: what an environment imports can read the workers that are forked in it. Blocks
        while it is launched.
        """
        if self._limits is not None and not self._limits.lends():
            return None
        known = engine.lower() if engine.lower() in ENGINES else ""
        name = self._name(Path(python), known, project_id)
        path = self._socket(name)
        with self._lock:
            if not self._is_there(name, path):
                with contextlib.suppress(OSError):
                    self._start(name, path, python, known)
            with contextlib.suppress(OSError):
                os.utime(self._dir / name)
        return path

    def tidy(self) -> None:
        """End those that nobody has wanted for long, whatever they do, and clear up after all."""
        with self._lock:
            self._clear()

    def _socket(self, name: str) -> Path:
        return self._warm.sockets_dir / f"{PREFIX}{name}.sock"

    def _name(self, python: Path, engine: str, project_id: str) -> str:
        told = [str(python), engine, project_id, self._warm.code]
        with contextlib.suppress(OSError):
            told.append(str((python.parent.parent / "pyvenv.cfg").stat().st_mtime_ns))
        digits = hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]
        return f"{instance_limits.RESERVE}{digits}"

    def _is_there(self, name: str, path: Path) -> bool:
        started = self._started.get(name)
        if started is not None:
            process, since = started
            # One that was unfit for forking would be so again, and what failed may fail again.
            lately = time.monotonic() - since < _AGAIN_AFTER_S
            status = process.poll()
            return status in (None, UNFIT) or (lately and status not in (0, -signal.SIGTERM))
        if name not in self._found:
            here = [one for one in zygotes(self._warm.sockets_dir) if serves(one, path)]
            if not here:
                return False
            self._found[name] = here[0]
        if processes.alive(self._found[name]):
            return True
        del self._found[name]
        return False

    def _start(self, name: str, path: Path, python: str, engine: str) -> None:
        if self._clear() >= MOST:
            return
        folder = self._dir / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        work_folder(folder, 0).mkdir()
        lend_packages(folder, python)
        path.unlink(missing_ok=True)
        environment = self._environment(name, folder, python)
        arguments = (
            *("-m", "modelyard_instance.zygotes.env_zygote"),
            *("--socket", str(path), "--dir", str(folder), "--python", python),
            *("--engine", engine, "--wanted", ",".join(wanted(Path(python)))),
        )
        process = start_zygote(arguments, environment, self._warm.logs_dir / f"{path.stem}.log")
        self._started[name] = process, time.monotonic()

    def _environment(self, name: str, folder: Path, python: str) -> Mapping[str, str]:
        environment = zygote_environment()
        environment.update(HOME=str(work_folder(folder, 0)), PYTHONPATH=str(folder / LIBRARY))
        environment["PATH"] = f"{Path(python).parent}{os.pathsep}{environment['PATH']}"
        if self._limits is not None:
            environment.update(self._limits.prepare_reserve(name, folder, python))
        return environment

    def _clear(self) -> int:
        """End those that are wanted no more, remove what the ended have left; how many live."""
        living, count = zygotes(self._warm.sockets_dir), 0
        for folder in self._dir.iterdir() if self._dir.is_dir() else ():
            path = self._socket(folder.name)
            here = [one for one in living if serves(one, path)]
            if here and _age_s(folder) < _UNWANTED_S:
                count += 1
                continue
            for process in here:
                processes.send(process, signal.SIGKILL)
            instance_limits.forget_reserve(folder)
            if self._limits is not None:
                self._limits.release(folder.name)
            path.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
        return count


def _age_s(folder: Path) -> float:
    """Seconds since somebody wanted it; endless when it is gone."""
    try:
        return time.time() - folder.stat().st_mtime
    except OSError:
        return float("inf")


def wanted(python: Path) -> list[str]:
    """The distributions that the environment of ``python`` was asked for, by its manifest."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        data = json.loads((python.parent.parent.parent / _MANIFEST).read_bytes())
        names = [str(one).split(";")[0] for one in data["wanted"]]
        return [one for name in names if (one := _name_of(name))]
    return []


def _name_of(requirement: str) -> str:
    try:
        return Requirement(requirement).name
    except InvalidRequirement:
        return ""
