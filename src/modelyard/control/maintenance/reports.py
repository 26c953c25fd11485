"""Report on each update: what clients noticed of it (``domain/canary/update_report.py``).

A report is written a moment after the update was closed, when the gateway has counted its last
predictions; no update waits for it.
"""

from __future__ import annotations

import asyncio

import structlog

from modelyard.clock import Clock
from modelyard.control.ports import Requests
from modelyard.domain.canary.update_report import UpdateReport, update_report
from modelyard.steps import Step
from modelyard.store.database import Database
from modelyard.store.service.instances import instance_lives
from modelyard.store.service.update_logs import unreported, write_report
from modelyard.store.tables.service import UpdateLog

log = structlog.get_logger(__name__)

PERIOD_S = 1.0
_AT_ONCE = 100
# An update that takes longer is counted while it runs, before its log is rotated away.
_LONG_MS = 5_000


class Reports:
    """Write the reports that are due; any number of control planes may do so at once."""

    def __init__(self, database: Database, clock: Clock, requests: Requests) -> None:
        self._database = database
        self._clock = clock
        self._requests = requests

    async def write(self) -> None:
        """Keep up with the updates that run, and report on those that have ended."""
        now = self._clock.now_ms()
        async with self._database.read() as session:
            logs = await unreported(session, _AT_ONCE)
        settled = now - self._requests.lag_ms
        for found in logs:
            if found.closed_at is None and found.update_time < now - _LONG_MS:
                await self._requests.tallies(found.service_id, found.update_time, settled)
        ended = [one for one in logs if one.closed_at is not None and one.closed_at < settled]
        if not ended:
            return
        reports = [(one, await self._try_report(one)) for one in ended]
        async with self._database.write(Step.REPORT) as session:
            for one, report in reports:
                if report is not None:
                    await write_report(session, one.service_id, one.update_time, report)

    async def _try_report(self, found: UpdateLog) -> UpdateReport | None:
        """Return None when it cannot be made now: one report must not hold up all others."""
        try:
            return await self._report(found)
        except Exception:
            log.exception("cannot report on an update", service_id=found.service_id)
            return None

    async def _report(self, found: UpdateLog) -> UpdateReport:
        service_id, begun, closed = found.service_id, found.update_time, found.closed_at
        assert closed is not None
        tallies = await self._requests.tallies(service_id, begun, closed + 1)
        counted = await self._requests.complete(service_id, begun)
        async with self._database.read() as session:
            lives = await instance_lives(session, service_id, begun)
        await asyncio.sleep(0)  # Many may end together; let other tasks run.
        return update_report(
            begun,
            closed,
            tallies=tallies,
            counted=counted,
            instances=lives,
            published=found.published,
        )
