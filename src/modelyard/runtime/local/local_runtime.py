"""Instances as processes of this machine that outlive the control plane."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from modelyard import processes
from modelyard.domain.rollout.instance import InstanceReport, InstanceSpec, Phase
from modelyard.processes import ProcessIdentity
from modelyard.runtime import folders, logfiles
from modelyard.runtime.folders import FrontState, InstanceFolder
from modelyard.runtime.limits import instance_limits as limits
from modelyard.runtime.limits.instance_limits import Limits
from modelyard.runtime.local import front_health, sweep
from modelyard.runtime.local.env_zygotes import PERIOD_S, EnvZygotes
from modelyard.runtime.local.zygotes import WarmStarts
from modelyard.steps import Step, reached
from modelyard_instance.environment import base_environment
from modelyard_instance.prefork import remote_fork_server

log = structlog.get_logger(__name__)

PROBE_TIMEOUT_S = 2.0
_GONE_TIMEOUT_S = 5.0


@dataclass(slots=True)
class _Known:
    folder: InstanceFolder
    process: ProcessIdentity | None = None
    unwatch: Callable[[], None] | None = None


class LocalRuntime:
    """Satisfies ``control.ports.Runtime`` with one front process and its worker per instance.

    ``instances_dir`` holds a folder per instance (``runtime/folders.py``), ``logs_dir`` their logs.
    A new object over the same folders adopts what lives: by pid, start time and instance id.
    ``python``: the interpreter that runs the fronts. ``warm``: forks them where it can.

    CPU and memory: the spec's ``cpu`` sets the threads of numeric libraries; ``limits`` holds the
    instance to both, and its code to a user of its own. Without, it is only started; what an
    earlier runtime has shut in is ended by ``stop`` all the same.
    """

    def __init__(
        self,
        instances_dir: Path,
        logs_dir: Path,
        *,
        python: str = sys.executable,
        limits: Limits | None = None,
        warm: WarmStarts | None = None,
    ) -> None:
        self._instances_dir = instances_dir
        self._logs_dir = logs_dir
        self._python = python
        self._limits = limits
        self._warm = warm
        self._reserves = EnvZygotes(warm, instances_dir, limits) if warm is not None else None
        self._tidying: asyncio.Task[None] | None = None
        self._known: dict[str, _Known] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._callbacks: list[Callable[[str], None]] = []
        self._adopted = False

    def on_exit(self, callback: Callable[[str], None]) -> None:
        """Call ``callback(instance_id)`` in the event loop when an instance's process ends.

        Not called for instances that ``stop`` ended. Adopted ones are watched from the first verb
        on.
        """
        self._callbacks.append(callback)

    def close(self) -> None:
        """Stop watching; the instances go on."""
        if self._tidying is not None:
            self._tidying.cancel()
            self._tidying = None
        for known in self._known.values():
            _unwatch(known)
        self._known.clear()
        self._adopted = False

    async def start(self, spec: InstanceSpec) -> None:
        """Launch the instance unless it lives. Raises ``OSError`` when no process can be made."""
        self._adopt()
        async with self._lock(spec.instance_id):
            known = self._known.get(spec.instance_id)
            if known is not None and known.process is not None and processes.alive(known.process):
                return
            log_file = logfiles.place(self._logs_dir, spec.service_id, spec.instance_id)
            folder = folders.create(self._instances_dir, log_file, spec)
            reached(Step.INSTANCE_FOLDER)
            known = self._known[spec.instance_id] = _Known(folder)
            # Threads end, so nothing here may rely on PDEATHSIG; the front sets none for itself.
            process = await asyncio.to_thread(self._launch, spec, folder)
            self._watch(known, process)

    async def probe(self, instance_id: str) -> InstanceReport | None:
        """Look at the instance now; None when nothing is known of this id, or nothing of a process.

        A living process that does not answer within two seconds keeps the phase it last wrote,
        with a message that says so: the caller counts how often that may happen.
        """
        self._adopt()
        known = self._known.get(instance_id)
        if known is None:
            return None
        report = await self._report(known)
        # The control plane died around the launch: that is no failure of the instance's own.
        return None if known.process is None else report

    async def drain(self, instance_id: str) -> None:
        """SIGTERM: the front serves what still comes until it is quiet, then exits."""
        self._adopt()
        known = self._known.get(instance_id)
        if known is not None and known.process is not None:
            processes.send(known.process, signal.SIGTERM)
            reached(Step.INSTANCE_DRAIN)

    async def stop(self, instance_id: str) -> None:
        """End front, worker and everything they started; remove the folder, keep the log."""
        self._adopt()
        async with self._lock(instance_id):
            known = self._known.pop(instance_id, None)
            if known is None:
                return
            _unwatch(known)
            if known.process is not None:
                processes.kill_group(known.process)
            await asyncio.to_thread(sweep.end_all, instance_id)
            await asyncio.to_thread(limits.end, known.folder.path)
            if known.process is not None:
                await processes.wait_gone(known.process, _GONE_TIMEOUT_S)
                processes.reap(known.process.pid)
            reached(Step.INSTANCE_STOP)
            await asyncio.to_thread(known.folder.remove)
            if self._limits is not None:
                self._limits.release(instance_id)
            reached(Step.INSTANCE_REMOVE)
            spare = frozenset(self._known)
            await asyncio.to_thread(
                logfiles.prune, known.folder.log_file.parent, logfiles.KEPT_PER_SERVICE, spare
            )
        self._locks.pop(instance_id, None)

    async def list(self) -> list[InstanceReport]:
        """Every instance here, also those an earlier control plane started."""
        self._adopt()
        return await asyncio.gather(*(self._report(one) for one in list(self._known.values())))

    def log_tail(self, instance_id: str, lines: int = 20) -> str:
        """The last lines of the instance's log, also after it was stopped; or an empty string."""
        if not folders.is_plain(instance_id):
            return ""
        known = self._known.get(instance_id)
        folder = known.folder if known else folders.read(self._instances_dir / instance_id)
        if folder is not None:
            return logfiles.tail(folder.log_file, lines) or logfiles.tail(folder.launch_log, lines)
        path = logfiles.find(self._logs_dir, instance_id)
        return "" if path is None else logfiles.tail(path, lines)

    def _keep_tidy(self) -> None:
        """End zygotes of environments that are wanted no more, also an earlier runtime's."""
        if self._reserves is not None and self._tidying is None:
            self._tidying = asyncio.create_task(_tidy(self._reserves), name="reserves")

    def _lock(self, instance_id: str) -> asyncio.Lock:
        return self._locks.setdefault(instance_id, asyncio.Lock())

    def _adopt(self) -> None:
        """Take over what an earlier control plane left, once."""
        if self._adopted:
            return
        self._adopted = True
        self._keep_tidy()
        folders.forget_unfinished(self._instances_dir)
        for folder in folders.scan(self._instances_dir):
            known = self._known[folder.instance_id] = _Known(folder)
            process = _living(folder)
            if process is not None:
                self._watch(known, process)
            else:
                known.process = folder.recorded()

    def _launch(self, spec: InstanceSpec, folder: InstanceFolder) -> ProcessIdentity:
        environment = base_environment(folder.instance_id, os.environ)
        if self._limits is not None:
            environment |= self._limits.prepare(spec, folder, self._python)
            reached(Step.INSTANCE_LIMITS)
        if spec.python and self._reserves is not None:
            reserve = self._reserves.lend(spec.python, spec.model_type, spec.project_id)
            environment = {**environment, remote_fork_server.WHERE: str(reserve or "")}
        forked = self._forked(spec, folder, environment)
        process = forked or self._spawned(folder, environment)
        reached(Step.INSTANCE_START)
        folder.record(process)
        reached(Step.INSTANCE_LAUNCHED)
        return process

    def _forked(
        self, spec: InstanceSpec, folder: InstanceFolder, environment: Mapping[str, str]
    ) -> ProcessIdentity | None:
        if self._warm is None or self._python != sys.executable:
            return None
        return self._warm.launch(
            # Another interpreter runs the worker: only the front can be forked.
            "" if spec.python else spec.model_type,
            folder.instance_id,
            folder=folder.path,
            environment=environment,
            log=folder.launch_log,
        )

    def _spawned(self, folder: InstanceFolder, environment: Mapping[str, str]) -> ProcessIdentity:
        return processes.spawn_detached(
            [self._python, "-m", "modelyard_instance", "--dir", str(folder.path)],
            env=environment,
            cwd=folder.path,
            log=folder.launch_log,
        )

    def _watch(self, known: _Known, process: ProcessIdentity) -> None:
        _unwatch(known)
        known.process = process
        known.unwatch = processes.watch_exit(process, lambda: self._ended(known, process))

    def _ended(self, known: _Known, process: ProcessIdentity) -> None:
        known.unwatch = None
        instance_id = known.folder.instance_id
        if self._known.get(instance_id) is not known or known.process != process:
            return
        # A second front leaves at once; the first one, launched before a crash, is the instance.
        first = _living(known.folder)
        if first is not None:
            known.folder.record(first)
            self._watch(known, first)
            return
        for callback in self._callbacks:
            callback(instance_id)

    async def _report(self, known: _Known) -> InstanceReport:
        if known.process is None or not processes.alive(known.process):
            # Launched just before a crash, it may have told of itself only after we came.
            late = _living(known.folder)
            if late is None:
                return self._gone(known)
            self._watch(known, late)
        state = known.folder.state()
        if state is None or state.process != known.process:
            return _make(known, Phase.STARTING, None, "the process has just been started")
        answer = await front_health.ask("127.0.0.1", state.port, PROBE_TIMEOUT_S)
        if answer is None:
            if not processes.alive(known.process):
                return self._gone(known)
            return _make(known, _phase(state.phase), state.port, "no answer to GET /health")
        if answer.instance_id != known.folder.instance_id:
            return _make(
                known, Phase.STARTING, None, f"port {state.port} answers for another instance"
            )
        report = _make(known, _phase(answer.status), state.port, answer.message)
        return replace(report, losses=answer.losses, last_loss=answer.last_loss)

    def _gone(self, known: _Known) -> InstanceReport:
        state = known.folder.state()
        last_line = self.log_tail(known.folder.instance_id, 1)
        message = _cause(state)
        if state is None or state.phase not in (Phase.DRAINING, Phase.FAILED):
            killed = limits.why_killed(known.folder.path)
            message = f"{message}; {killed}" if killed else message
        if last_line:
            message = f"{message}; last log line: {last_line}"
        return _make(known, Phase.GONE, None, message)


async def _tidy(reserves: EnvZygotes) -> None:
    while True:
        await asyncio.sleep(PERIOD_S)
        try:
            await asyncio.to_thread(reserves.tidy)
        except OSError as error:
            log.warning("what is left of warm starts was not cleared up", reason=str(error))


def _unwatch(known: _Known) -> None:
    if known.unwatch is not None:
        known.unwatch()
        known.unwatch = None


def _living(folder: InstanceFolder) -> ProcessIdentity | None:
    """The folder's front if it lives: by its own word, else by its launcher's."""
    state = folder.state()
    for process in (state.process if state else None, folder.recorded()):
        if process is not None and processes.alive(process):
            return process
    return None


def _phase(word: str) -> Phase:
    with contextlib.suppress(ValueError):
        return Phase(word)
    return Phase.STARTING


def _cause(state: FrontState | None) -> str:
    if state is None:
        return "the process ended before it could report"
    if state.phase == Phase.DRAINING:
        return "the process ended after its drain"
    if state.phase == Phase.FAILED:
        return f"the process ended after it had failed: {state.message}"
    return f"the process ended without a word while {state.phase} (killed, or it crashed)"


def _make(known: _Known, phase: Phase, port: int | None, message: str) -> InstanceReport:
    return InstanceReport(
        instance_id=known.folder.instance_id,
        service_id=known.folder.service_id,
        model_id=known.folder.model_id,
        phase=phase,
        pid=known.process.pid if known.process and phase is not Phase.GONE else None,
        port=port,
        message=message,
    )
