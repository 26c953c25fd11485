"""Watch ready instances: one that stops answering is ended, and the reconciler replaces it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from modelyard.clock import Clock
from modelyard.control.ports import Runtime
from modelyard.domain.rollout.instance import InstanceReport, Phase
from modelyard.domain.text import storable_text
from modelyard.steps import Step
from modelyard.store import events
from modelyard.store.database import Database
from modelyard.store.service.instances import ready_instances
from modelyard.store.service.services import service_exists

PERIOD_S = 2.0
AT_ONCE = 4
PAUSE_S = 0.02
MISSES_ALLOWED = 3
"""Health checks in a row that an instance may leave unanswered."""


class HealthWatch:
    """Call ``check`` every ``PERIOD_S``; ``hint`` has a service reconciled."""

    def __init__(
        self, database: Database, clock: Clock, runtime: Runtime, hint: Callable[[str], None]
    ) -> None:
        self._database = database
        self._clock = clock
        self._runtime = runtime
        self._hint = hint
        self._unanswered: Counter[str] = Counter()
        self._reported: dict[str, int] = {}

    async def check(self) -> None:
        """Probe every ready instance once."""
        async with self._database.read() as session:
            ready = await ready_instances(session)
        silent: Counter[str] = Counter()
        # A few at a time with pauses: many instances must not crowd out updates.
        for start in range(0, len(ready), AT_ONCE):
            some = ready[start : start + AT_ONCE]
            reports = await asyncio.gather(*(self._runtime.probe(i) for i, _ in some))
            for (instance_id, service_id), report in zip(some, reports, strict=True):
                await self._examine(instance_id, service_id, report, silent)
            await asyncio.sleep(PAUSE_S)
        self._unanswered = silent
        living = {instance_id for instance_id, _ in ready}
        self._reported = {i: count for i, count in self._reported.items() if i in living}

    async def _examine(
        self,
        instance_id: str,
        service_id: str,
        report: InstanceReport | None,
        silent: Counter[str],
    ) -> None:
        if report is not None and report.losses > self._reported.get(instance_id, 0):
            await self._report_loss(report)
        if report is None or report.phase is not Phase.READY:
            self._hint(service_id)
        elif report.message:
            silent[instance_id] = self._unanswered[instance_id] + 1
            if silent[instance_id] >= MISSES_ALLOWED:
                await self._end(instance_id, service_id, report.message)

    async def _report_loss(self, report: InstanceReport) -> None:
        """Record an event for a model's process that died and was replaced, now or earlier."""
        times = "once" if report.losses == 1 else f"{report.losses} times"
        info = storable_text(
            f"instance {report.instance_id}: the process of its model died and was replaced "
            f"({times} so far): {report.last_loss}"
        )
        async with self._database.write(Step.HEALTH_LOSS) as session:
            # An earlier control plane may have recorded it.
            known = await events.is_recorded(session, report.service_id, info)
            if not known and await service_exists(session, report.service_id):
                now = self._clock.now_ms()
                events.record(session, report.service_id, info, now, events.ABNORMAL)
        self._reported[report.instance_id] = report.losses

    async def _end(self, instance_id: str, service_id: str, reason: str) -> None:
        info = f"instance {instance_id} left {MISSES_ALLOWED} health checks unanswered: {reason}"
        async with self._database.write(Step.HEALTH_END) as session:
            now = self._clock.now_ms()
            if await service_exists(session, service_id):
                events.record(session, service_id, storable_text(info), now, events.ABNORMAL)
        await self._runtime.stop(instance_id)
        self._hint(service_id)
