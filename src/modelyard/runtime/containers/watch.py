"""Watches one container: its checks, its end, its output. Everything that goes on by itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from modelyard import processes
from modelyard.domain.rollout.instance import Phase
from modelyard.processes import ProcessIdentity
from modelyard.runtime.containers.checks import Target, ask
from modelyard.runtime.containers.container import Container, EngineError
from modelyard.runtime.containers.engine import ContainerEngine
from modelyard.runtime.containers.log import LogCapture
from modelyard.runtime.containers.oom import account_of
from modelyard.runtime.containers.probing import Check, Checks, Streak, checks_of
from modelyard.runtime.containers.records import ContainerRecord, Records

log = structlog.get_logger(__name__)

_LAST_WORDS_S = 2.0
_LOOK_AGAIN_S = 1.0
# What a container does not become something else from, by what it would become.
_FINAL = {Phase.GONE: (Phase.GONE,), Phase.DRAINING: (Phase.GONE, Phase.DRAINING)}


class ContainerWatch:
    """One container from its start on. ``changed`` is called in the event loop when its phase
    changes; ``phase`` and ``message`` say how it is.
    """

    def __init__(
        self,
        engine: ContainerEngine,
        records: Records,
        record: ContainerRecord,
        log_file: Path,
        changed: Callable[[str], None],
    ) -> None:
        self.record = record
        self.log_file = log_file
        self.phase = Phase.READY if record.ready else Phase.STARTING
        self.message = "" if record.ready else "the container has just been started"
        self._engine = engine
        self._records = records
        self._changed = changed
        self._process = own_process(record.pid, record.container_id)
        self._checks: Checks = checks_of(record.container.get("probes") or {})
        self._tasks: list[asyncio.Task[None]] = []
        self._unwatch: Callable[[], None] | None = None
        self._capture: LogCapture | None = None
        self._ended = asyncio.Event()
        self._account = account_of(self._process.pid) if self._process else None
        self._starved = False

    # -- life ---------------------------------------------------------------------------------

    def attend(self) -> None:
        """Watch from now on."""
        self._capture = LogCapture(self._engine, self.record.name, self.log_file, self.runs)
        self._tasks = [
            asyncio.create_task(self._see_the_end(), name=f"end {self.record.name}"),
            asyncio.create_task(self._check(), name=f"checks {self.record.name}"),
        ]

    async def close(self) -> None:
        """Stop watching; the container goes on."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._capture is not None:
            self._capture.close()

    async def last_words(self) -> None:
        """Wait until all that an ended container has said is in the log."""
        if self._capture is not None:
            await asyncio.to_thread(self._capture.finish, _LAST_WORDS_S)

    @property
    def pid(self) -> int | None:
        """Of the first process, where it is one of this machine's."""
        return self._process.pid if self._process is not None and self.runs() else None

    def runs(self) -> bool:
        """Whether the container runs, as far as is known without asking the engine."""
        if self.phase is Phase.GONE or self._ended.is_set():
            return False
        return self._process is None or processes.alive(self._process)

    # -- its end ------------------------------------------------------------------------------

    def _process_ended(self) -> None:
        # At once: the engine takes the control group away with its account.
        self._starved = self._account is not None and self._account.kills() > 0
        self._ended.set()

    async def _see_the_end(self) -> None:
        """The kernel says when a process ends that we can see; else the engine is asked again and
        again.
        """
        if self._process is not None:
            self._unwatch = processes.watch_exit(self._process, self._process_ended)
            await self._ended.wait()
        while True:
            try:
                found = await self._engine.look(self.record.name)
            except EngineError:
                # Nobody can say; a process that we saw ending has ended.
                found = None
                if self._process is None:
                    await asyncio.sleep(_LOOK_AGAIN_S)
                    continue
            if found is None or not found.runs:
                break
            await asyncio.sleep(_LOOK_AGAIN_S if self._process is None else 0.05)
        self._ended.set()
        await self.last_words()
        if found is not None and self._starved:
            found = replace(found, out_of_memory=True)
        self._become(Phase.GONE, cause_of(found, self.phase, self.record.memory_mb))

    # -- its checks ---------------------------------------------------------------------------

    async def _check(self) -> None:
        if not self.record.ready:
            for gate in self._checks.gates:
                if not await self._passes(gate):
                    return
            self._become(Phase.READY, "")
        async with asyncio.TaskGroup() as group:
            if self._checks.readiness is not None:
                group.create_task(self._keep_ready(self._checks.readiness))
            if self._checks.liveness is not None:
                group.create_task(self._keep_alive(self._checks.liveness))

    async def _passes(self, check: Check) -> bool:
        """Ask until the check passes; False when it failed too often."""
        streak = Streak(check)
        while True:
            fault = await self._ask(check)
            if fault is None:
                return True
            if streak.take(fault, self._age_s()):
                self._become(Phase.FAILED, streak.told(fault))
                return False
            if self.phase is Phase.STARTING:
                self.message = f"{check.name} check: {check.told}: {fault}"
            await asyncio.sleep(check.pause_s(self._age_s()))

    async def _keep_ready(self, check: Check) -> None:
        """In and out of traffic as the readiness check says."""
        streak = Streak(check)
        while True:
            await asyncio.sleep(check.period_s)
            fault = await self._ask(check)
            if streak.take(fault, self._age_s()) and fault is not None:
                self._become(Phase.STARTING, streak.told(fault))
            elif fault is None:
                self._become(Phase.READY, "")

    async def _keep_alive(self, check: Check) -> None:
        streak = Streak(check)
        while True:
            await asyncio.sleep(check.period_s)
            fault = await self._ask(check)
            if streak.take(fault, self._age_s()) and fault is not None:
                self._become(Phase.FAILED, streak.told(fault))
                return

    async def _ask(self, check: Check) -> str | None:
        port = self.record.host_port
        if port is None:
            return "its port is not published"
        target = Target(self.record.name, port, self.record.tls)
        return await ask(self._engine, target, check)

    def _age_s(self) -> float:
        return time.time() - self.record.started_at

    # -- what it is ---------------------------------------------------------------------------

    async def look(self) -> None:
        """Ask the engine once, instead of watching."""
        with contextlib.suppress(EngineError):
            found = await self._engine.look(self.record.name)
            if found is None or not found.runs:
                self._become(Phase.GONE, cause_of(found, self.phase, self.record.memory_mb))

    def drains(self) -> None:
        """It is on its way out: what its checks say no longer matters."""
        for task in self._tasks[1:]:
            task.cancel()
        if self.phase is not Phase.GONE:
            self._become(Phase.DRAINING, "")

    def _become(self, phase: Phase, message: str) -> None:
        if self.phase in _FINAL.get(phase, (Phase.GONE, Phase.DRAINING, Phase.FAILED)):
            return
        before, self.phase, self.message = self.phase, phase, message
        if self.record.ready != (phase is Phase.READY) and phase is not Phase.GONE:
            self.record = replace(self.record, ready=phase is Phase.READY)
            try:
                self._records.write(self.record)
            except OSError as error:
                log.warning("a record cannot be written", name=self.record.name, why=str(error))
        if phase is not before:
            self._changed(self.record.instance_id)


def own_process(pid: int | None, container_id: str) -> ProcessIdentity | None:
    """The container's first process, if it is to be seen on this machine: some engines run theirs
    in a machine of their own, and then the number is somebody else's here.
    """
    if not pid or not container_id:
        return None
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return processes.identify(pid) if container_id in groups else None


def cause_of(found: Container | None, before: Phase, memory_mb: int) -> str:
    """Why a container is gone. Pure."""
    if before is Phase.DRAINING:
        return "the container ended after its drain"
    if found is None:
        return "the container is gone: somebody removed it"
    if found.out_of_memory:
        return (
            f"out of memory: the container wanted more than its {memory_mb} MB. "
            "Choose a larger specification"
        )
    return f"the container ended with exit code {found.exit_code} while {before}"
