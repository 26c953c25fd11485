"""The drivers of runs as processes of this machine that outlive the control plane.

Each run has a folder below ``home/batch``; everything between the two sides lies in it as files
(``batch/spec.py``). A driver is known again by its record there: pid and kernel start time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from modelyard import processes
from modelyard.batch.spec import (
    ENDPOINTS_FILE,
    BadRun,
    read_endpoints,
    read_progress,
    read_result,
    read_run,
    write_endpoints,
    write_run,
)
from modelyard.domain.batch.run import Address, DriverReport, RunSpec
from modelyard.processes import ProcessIdentity
from modelyard.steps import Step, reached

RECORD_FILE = "driver.json"
_TASK_ID = re.compile(r"[0-9a-f-]{36}")
_ENDED_WITHIN_S = 10.0
# It becomes the driver only when it is told so: by then its record is written, so that no driver
# runs that nobody knows. When we die before that, it reads the end of the file and ends.
_WAIT_THEN_DRIVE = 'read -r go && exec "$@" </dev/null'


class LocalDrivers:
    """Satisfies ``control.ports.Drivers``.

    ``runs_dir`` holds a folder per run, ``logs_dir`` what the drivers print. ``command``: what a
    driver is started by; ``--run <folder>`` is added. ``environ``: what it inherits.
    """

    def __init__(
        self,
        runs_dir: Path,
        logs_dir: Path,
        *,
        command: Sequence[str] = (sys.executable, "-m", "modelyard.batch"),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._runs_dir = runs_dir
        self._logs_dir = logs_dir
        self._command = tuple(command)
        self._environ = os.environ if environ is None else environ
        self._watched: dict[str, tuple[ProcessIdentity, Callable[[], None]]] = {}
        self._asked: dict[str, ProcessIdentity] = {}
        self._callbacks: list[Callable[[str], None]] = []

    def on_exit(self, callback: Callable[[str], None]) -> None:
        """Call ``callback(task_id)`` in the event loop when a driver ends that was reported on."""
        self._callbacks.append(callback)

    def close(self) -> None:
        """Stop watching; the drivers go on."""
        for _, unwatch in self._watched.values():
            unwatch()
        self._watched.clear()

    def report(self, task_id: str) -> DriverReport:
        """Look at a run now; one that nothing is known of has no driver."""
        folder = self._runs_dir / task_id
        # In this order: what is dead then has written its result before.
        process = processes.read_record(folder / RECORD_FILE)
        if process is not None:
            self._watch(task_id, process)
        return DriverReport(process is not None, read_progress(folder), read_result(folder))

    async def prepare(self, spec: RunSpec) -> None:
        """Make the run's folder, unless it is there. Raises ``OSError``."""
        folder = self._runs_dir / spec.task_id
        # One that a power cut has emptied is written again.
        with contextlib.suppress(BadRun):
            read_run(folder)
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_run(folder, spec)
        reached(Step.RUN_PREPARE)

    async def point(self, task_id: str, addresses: Sequence[Address]) -> None:
        """Tell the driver which instances are ready. Raises ``OSError``."""
        folder = self._runs_dir / task_id
        try:
            known = read_endpoints(folder) if (folder / ENDPOINTS_FILE).exists() else None
        except BadRun:
            known = None
        if known != list(addresses):
            write_endpoints(folder, list(addresses))
            reached(Step.RUN_POINT)

    async def start(self, task_id: str) -> None:
        """Start the driver unless it lives. Raises ``OSError`` when no process can be made."""
        if processes.read_record(self._runs_dir / task_id / RECORD_FILE) is None:
            process = await asyncio.to_thread(self._launch, task_id)
            self._watch(task_id, process)

    async def end(self, task_id: str, *, at_once: bool = False) -> None:
        """Ask the driver to checkpoint and end; with ``at_once`` kill it, and what it started.

        It is asked once, lest a second signal meet its cleaning up.
        """
        folder = self._runs_dir / task_id
        if at_once or self._asked.get(task_id) != processes.read_record(folder / RECORD_FILE):
            process = end_driver(folder, at_once=at_once)
            if process is not None:
                self._asked[task_id] = process

    async def remove(self, task_id: str) -> None:
        """Forget a run whose driver has ended: its folder and its log go."""
        folder = self._runs_dir / task_id
        self._asked.pop(task_id, None)
        if folder.exists():
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            self._log(task_id).unlink(missing_ok=True)
            reached(Step.RUN_REMOVE)

    def known(self) -> list[str]:
        """The task ids of all runs that have a folder."""
        return known_runs(self._runs_dir)

    def log_tail(self, task_id: str) -> str:
        """The last line that the driver printed, or an empty string."""
        try:
            with self._log(task_id).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
                lines = file.read().decode(errors="replace").split("\n")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def _log(self, task_id: str) -> Path:
        return self._logs_dir / "batch" / f"{task_id}.log"

    def _launch(self, task_id: str) -> ProcessIdentity:
        folder = self._runs_dir / task_id
        read_end, write_end = os.pipe()
        try:
            process = processes.spawn_detached(
                ["/bin/sh", "-c", _WAIT_THEN_DRIVE, "sh", *self._command, "--run", str(folder)],
                env=self._environ,
                cwd=folder,
                log=self._log(task_id),
                stdin=read_end,
            )
            processes.write_record(folder / RECORD_FILE, process)
            reached(Step.RUN_RECORD)
            os.write(write_end, b"go\n")
        finally:
            os.close(read_end)
            os.close(write_end)
        reached(Step.RUN_START)
        return process

    def _watch(self, task_id: str, process: ProcessIdentity) -> None:
        known = self._watched.get(task_id)
        if known is not None:
            if known[0] == process:
                return
            known[1]()
        unwatch = processes.watch_exit(process, lambda: self._ended(task_id, process))
        self._watched[task_id] = process, unwatch

    def _ended(self, task_id: str, process: ProcessIdentity) -> None:
        known = self._watched.get(task_id)
        if known is None or known[0] != process:
            return
        del self._watched[task_id]
        for callback in self._callbacks:
            callback(task_id)


def known_runs(runs_dir: Path) -> list[str]:
    """The task ids of the runs that have a folder below ``runs_dir``."""
    if not runs_dir.is_dir():
        return []
    return sorted(path.name for path in runs_dir.iterdir() if _TASK_ID.fullmatch(path.name))


def end_driver(folder: Path, *, at_once: bool = False) -> ProcessIdentity | None:
    """Signal the driver of a run; gives it, or None when there is none."""
    process = processes.read_record(folder / RECORD_FILE)
    if process is None:
        return None
    if at_once:
        processes.kill_group(process)
    else:
        processes.send(process, signal.SIGTERM)
    reached(Step.RUN_END)
    return process


async def end_all(runs_dir: Path, grace_s: float) -> int:
    """End every driver below ``runs_dir``, by force after ``grace_s``; gives how many there were.

    Their runs go on where they were when the platform is up again.
    """
    folders = [runs_dir / task_id for task_id in known_runs(runs_dir)]
    ended = [(folder, process) for folder in folders if (process := end_driver(folder))]
    gone = await asyncio.gather(*(processes.wait_gone(process, grace_s) for _, process in ended))
    for (folder, process), in_time in zip(ended, gone, strict=True):
        if not in_time:
            end_driver(folder, at_once=True)
            await processes.wait_gone(process, _ENDED_WITHIN_S)
        processes.reap(process.pid)
    return len(ended)
