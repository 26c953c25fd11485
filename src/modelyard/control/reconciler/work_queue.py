"""The reconciler's work queue: hints, timers, and a few workers.

A service is looked at when an API call hints at it, when one of its processes ends, when it
fails its health check, when its own timer is due, and once when the control plane starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import structlog

from modelyard.control.reconciler.reconcile import Parts, reconcile
from modelyard.periodic import Periodic
from modelyard.store.batch_runs import service_of_run
from modelyard.store.database import Session
from modelyard.store.service.instances import service_of_instance
from modelyard.store.service.services import due_services, unsettled_services

_Owner: TypeAlias = Callable[[Session, str], Awaitable[str | None]]
"""Finds the service of a process, by the id of what the process is."""

log = structlog.get_logger(__name__)

WORKERS = 4
SWEEP_S = 5.0
"""How often rows whose time has come are collected, for timers an earlier process set."""
ERROR_RETRY_MS = 2_000


class Loop:
    """Reconcile services: never two at once for one; a hint meanwhile causes another."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._queued: set[str] = set()
        self._working: set[str] = set()
        self._again: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._lookups: set[asyncio.Task[None]] = set()
        self._sweeper = Periodic("loop-sweep", SWEEP_S, self._sweep)

    def hint(self, service_id: str) -> None:
        """Have the service reconciled soon; cheap, and callable from anywhere in the event loop."""
        if service_id in self._working:
            self._again.add(service_id)
            return
        if service_id not in self._queued:
            self._queued.add(service_id)
            self._queue.put_nowait(service_id)

    async def start(self) -> None:
        """Begin to work, with the services that are not at rest."""
        self._parts.runtime.on_exit(lambda ended: self._look_up(service_of_instance, ended))
        self._parts.drivers.on_exit(lambda ended: self._look_up(service_of_run, ended))
        self._tasks = [
            asyncio.create_task(self._work(), name=f"loop-worker-{n}") for n in range(WORKERS)
        ]
        self._sweeper.start()
        for service_id in await self._unsettled():
            self.hint(service_id)

    async def stop(self) -> None:
        """End all work; the next control plane continues what was interrupted."""
        await self._sweeper.stop()
        for timer in self._timers.values():
            timer.cancel()
        tasks = [*self._tasks, *self._lookups]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks = []

    # -- work ---------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            service_id = await self._next()
            self._working.add(service_id)
            try:
                check_at = await reconcile(self._parts, service_id)
            except Exception:
                log.exception("reconcile failed", service_id=service_id)
                check_at = self._parts.clock.now_ms() + ERROR_RETRY_MS
            finally:
                self._working.discard(service_id)
            if service_id in self._again:
                self._again.discard(service_id)
                self.hint(service_id)
            elif check_at is not None:
                self._hint_at(service_id, check_at)

    async def _next(self) -> str:
        service_id = await self._queue.get()
        self._queued.discard(service_id)
        self._cancel_timer(service_id)
        return service_id

    def _hint_at(self, service_id: str, at_ms: int) -> None:
        self._cancel_timer(service_id)
        delay = max(0.0, (at_ms - self._parts.clock.now_ms()) / 1000)
        loop = asyncio.get_running_loop()
        self._timers[service_id] = loop.call_later(delay, self._due, service_id)

    def _due(self, service_id: str) -> None:
        self._timers.pop(service_id, None)
        self.hint(service_id)

    def _cancel_timer(self, service_id: str) -> None:
        timer = self._timers.pop(service_id, None)
        if timer is not None:
            timer.cancel()

    # -- what comes without a hint --------------------------------------------------------------

    def _look_up(self, owner: _Owner, ended: str) -> None:
        """Hint at the service of a process that has ended: an instance's, or a run's driver."""
        task = asyncio.create_task(self._hint_owner(owner, ended), name="loop-lookup")
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    async def _hint_owner(self, owner: _Owner, ended: str) -> None:
        try:
            async with self._parts.database.read() as session:
                service_id = await owner(session, ended)
        except Exception:  # The health watch or the next reconcile will notice it.
            log.exception("cannot find the service of a process that ended", ended=ended)
            return
        if service_id is not None:
            self.hint(service_id)

    async def _unsettled(self) -> list[str]:
        async with self._parts.database.read() as session:
            return await unsettled_services(session)

    async def _sweep(self) -> None:
        now = self._parts.clock.now_ms()
        async with self._parts.database.read() as session:
            due = await due_services(session, now)
        for service_id in due:
            if service_id not in self._timers:
                self.hint(service_id)
