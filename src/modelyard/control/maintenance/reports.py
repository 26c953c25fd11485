"""Closes each update with a report of what clients noticed (``domain/canary/update_report.py``).

Off the update's path: a report is written a moment after the update was closed, when the gateway
has counted its last predictions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.clock import Clock
from modelyard.control.ports import Requests
from modelyard.domain.canary.update_report import InstanceLife, UpdateReport, update_report
from modelyard.domain.rollout.state import Stage
from modelyard.steps import Step
from modelyard.store.database import Database
from modelyard.store.tables.service import Instance, UpdateLog

log = structlog.get_logger(__name__)

PERIOD_S = 1.0
_AT_ONCE = 100
# An update that takes longer is counted while it runs, before its log is rotated away.
_LONG_MS = 5_000


class Reports:
    """Writes the reports that are due; any number of control planes may do so at once."""

    def __init__(self, database: Database, clock: Clock, requests: Requests) -> None:
        self._database = database
        self._clock = clock
        self._requests = requests

    async def write(self) -> None:
        """One round: keep up with the updates that run, report on those that have ended."""
        now = self._clock.now_ms()
        async with self._database.read() as session:
            logs = await _unreported(session)
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
                if report is None:
                    continue
                await session.execute(
                    update(UpdateLog)
                    .where(
                        UpdateLog.service_id == one.service_id,
                        UpdateLog.update_time == one.update_time,
                        UpdateLog.report.is_(None),
                    )
                    .values(report=report.to_json())
                )

    async def _try_report(self, found: UpdateLog) -> UpdateReport | None:
        """None when it cannot be made now: one report must not hold up all others."""
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
            rows = await session.scalars(
                select(Instance).where(
                    Instance.service_id == service_id,
                    or_(Instance.ended_at.is_(None), Instance.ended_at >= begun),
                )
            )
            lives = [_life(row) for row in rows]
        await asyncio.sleep(0)  # many may end together; others want their turn
        return update_report(
            begun,
            closed,
            tallies=tallies,
            counted=counted,
            instances=lives,
            published=found.published,
        )


async def _unreported(session: AsyncSession) -> Sequence[UpdateLog]:
    """Updates that ended and have no report yet, then those that run (``UNREPORTED``, in the terms
    of the index of these rows).
    """
    statement = (
        select(UpdateLog)
        .where(
            UpdateLog.report.is_(None),
            or_(UpdateLog.closed_at.is_(None), UpdateLog.closed_at > UpdateLog.update_time),
        )
        .order_by(UpdateLog.closed_at.is_(None), UpdateLog.closed_at)
        .limit(_AT_ONCE)
    )
    return list(await session.scalars(statement))


def _life(row: Instance) -> InstanceLife:
    forced = row.failed or bool(row.message)
    return InstanceLife(
        started_at=row.created_at,
        ready_at=row.ready_at,
        drained_at=row.since if row.stage == Stage.DRAINING.value else None,
        killed_at=row.ended_at if forced else None,
    )
