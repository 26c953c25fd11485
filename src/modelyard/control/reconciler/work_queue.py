"""The loop that keeps services as they are wanted: hints, timers, and a few workers.

A service is looked at when an API call hints at it, when one of its processes ends, when it
fails its health check, when its own timer is due, and once when the control plane starts.
"""

from __future__ import annotations

import asyncio

import structlog
from sqlalchemy import or_, select

from modelyard.control.reconciler.reconcile import Parts, reconcile
from modelyard.domain.service.lifecycle import Status
from modelyard.periodic import Periodic
from modelyard.store.tables.batch import BatchRun
from modelyard.store.tables.service import Instance, Service

log = structlog.get_logger(__name__)

WORKERS = 4
SWEEP_S = 5.0
"""How often rows whose time has come are collected, for timers an earlier process set."""
ERROR_RETRY_MS = 2_000


class Loop:
    """Runs passes: never two at once for one service, a hint during a pass causes another."""

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
        """Look at the service soon; cheap, and callable from anywhere in the event loop."""
        if service_id in self._working:
            self._again.add(service_id)
            return
        if service_id not in self._queued:
            self._queued.add(service_id)
            self._queue.put_nowait(service_id)

    async def start(self) -> None:
        """Begin to work; the first passes are those of services that are not at rest."""
        self._parts.runtime.on_exit(lambda ended: self._look_up(Instance, ended))
        self._parts.drivers.on_exit(lambda ended: self._look_up(BatchRun, ended))
        self._tasks = [
            asyncio.create_task(self._work(), name=f"loop-worker-{n}") for n in range(WORKERS)
        ]
        self._sweeper.start()
        for service_id in await self._restless():
            self.hint(service_id)

    async def stop(self) -> None:
        """End all work; passes that are cut off are continued by the next control plane."""
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
                log.exception("pass failed", service_id=service_id)
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

    # -- what nobody hints at -------------------------------------------------------------------

    def _look_up(self, table: type[Instance | BatchRun], ended: str) -> None:
        """A process has ended: an instance's, or the driver of a run."""
        task = asyncio.create_task(self._hint_owner(table, ended), name="loop-lookup")
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    async def _hint_owner(self, table: type[Instance | BatchRun], ended: str) -> None:
        try:
            async with self._parts.database.read() as session:
                row = await session.get(table, ended)
        except Exception:  # The health watch, or the next look, will notice all the same.
            log.exception("cannot look up whose process ended", ended=ended)
            return
        if isinstance(row, Instance | BatchRun):
            self.hint(row.service_id)

    async def _restless(self) -> list[str]:
        """Services that are wanted to run or have something left to wind down."""
        at_rest = (Status.STOPPED.value, Status.FAILED.value, Status.FINISHED.value)
        living = select(Instance.service_id).where(Instance.ended_at.is_(None))
        async with self._parts.database.read() as session:
            statement = select(Service.id).where(
                or_(
                    Service.status.not_in(at_rest),
                    Service.check_at.is_not(None),
                    Service.id.in_(living),
                )
            )
            return list(await session.scalars(statement))

    async def _sweep(self) -> None:
        now = self._parts.clock.now_ms()
        async with self._parts.database.read() as session:
            due = await session.scalars(select(Service.id).where(Service.check_at <= now))
            for service_id in due:
                if service_id not in self._timers:
                    self.hint(service_id)
