"""Watches ready instances: one that stops answering is ended, so that the loop replaces it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from sqlalchemy import select

from modelyard.clock import Clock
from modelyard.control import events
from modelyard.control.ports import Runtime
from modelyard.domain.rollout.instance import InstanceReport, Phase
from modelyard.domain.rollout.state import Stage
from modelyard.domain.text import storable_text
from modelyard.steps import Step
from modelyard.store.database import Database
from modelyard.store.tables.service import Event, Instance, Service

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
        self._told: dict[str, int] = {}

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
        living = {instance_id for instance_id, _ in ready}
        self._told = {i: count for i, count in self._told.items() if i in living}

    async def _judge(
        self,
        instance_id: str,
        service_id: str,
        report: InstanceReport | None,
        silent: Counter[str],
    ) -> None:
        if report is not None and report.losses > self._told.get(instance_id, 0):
            await self._tell_loss(report)
        if report is None or report.phase is not Phase.READY:
            self._hint(service_id)
        elif report.message:
            silent[instance_id] = self._unanswered[instance_id] + 1
            if silent[instance_id] >= PATIENCE:
                await self._end(instance_id, service_id, report.message)

    async def _tell_loss(self, report: InstanceReport) -> None:
        """An event for a model's process that died and was replaced; also one we came late for."""
        times = "once" if report.losses == 1 else f"{report.losses} times"
        info = storable_text(
            f"instance {report.instance_id}: the process of its model died and was replaced "
            f"({times} so far): {report.last_loss}"
        )
        async with self._database.write(Step.HEALTH_LOSS) as session:
            # A control plane before this one may have told it.
            told = await session.scalar(
                select(Event.id).where(
                    Event.service_id == report.service_id, Event.event_info == info
                )
            )
            if told is None and await session.get(Service, report.service_id) is not None:
                now = self._clock.now_ms()
                events.event(session, report.service_id, info, now, events.ABNORMAL)
        self._told[report.instance_id] = report.losses

    async def _end(self, instance_id: str, service_id: str, reason: str) -> None:
        info = f"instance {instance_id} left {PATIENCE} health checks unanswered: {reason}"
        async with self._database.write(Step.HEALTH_END) as session:
            now = self._clock.now_ms()
            if await session.get(Service, service_id) is not None:
                events.event(session, service_id, storable_text(info), now, events.ABNORMAL)
        await self._runtime.stop(instance_id)
        self._hint(service_id)
