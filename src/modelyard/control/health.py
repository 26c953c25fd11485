"""Watches ready instances: one that stops answering is ended, so that the loop replaces it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from sqlalchemy import select

from modelyard.clock import Clock
from modelyard.control import journal
from modelyard.control.ports import Runtime
from modelyard.domain.instance import InstanceReport, Phase
from modelyard.domain.observed import Stage
from modelyard.domain.text import storable_text
from modelyard.steps import Step
from modelyard.store.database import Database
from modelyard.store.tables.service import Instance, Service

PERIOD_S = 2.0
AT_ONCE = 4
PAUSE_S = 0.02
PATIENCE = 3
"""Checks in a row that an instance may leave unanswered."""


class HealthWatch:
    """``check`` is to be called every ``PERIOD_S``; ``hint`` wakes the loop for a service."""

    def __init__(
        self, database: Database, clock: Clock, runtime: Runtime, hint: Callable[[str], None]
    ) -> None:
        self._database = database
        self._clock = clock
        self._runtime = runtime
        self._hint = hint
        self._unanswered: Counter[str] = Counter()

    async def check(self) -> None:
        """Look at every ready instance once."""
        async with self._database.read() as session:
            statement = select(Instance.id, Instance.service_id).where(
                Instance.ended_at.is_(None), Instance.stage == Stage.READY.value
            )
            ready = list((await session.execute(statement)).tuples())
        silent: Counter[str] = Counter()
        # A few at a time with pauses: many instances must not crowd out updates.
        for start in range(0, len(ready), AT_ONCE):
            some = ready[start : start + AT_ONCE]
            reports = await asyncio.gather(*(self._runtime.probe(i) for i, _ in some))
            for (instance_id, service_id), report in zip(some, reports, strict=True):
                await self._judge(instance_id, service_id, report, silent)
            await asyncio.sleep(PAUSE_S)
        self._unanswered = silent

    async def _judge(
        self,
        instance_id: str,
        service_id: str,
        report: InstanceReport | None,
        silent: Counter[str],
    ) -> None:
        if report is None or report.phase is not Phase.READY:
            self._hint(service_id)
        elif report.message:
            silent[instance_id] = self._unanswered[instance_id] + 1
            if silent[instance_id] >= PATIENCE:
                await self._end(instance_id, service_id, report.message)

    async def _end(self, instance_id: str, service_id: str, reason: str) -> None:
        info = f"instance {instance_id} left {PATIENCE} health checks unanswered: {reason}"
        async with self._database.write(Step.HEALTH_END) as session:
            now = self._clock.now_ms()
            if await session.get(Service, service_id) is not None:
                journal.event(session, service_id, storable_text(info), now, journal.ABNORMAL)
        await self._runtime.stop(instance_id)
        self._hint(service_id)
