"""Write and find update logs: one row per accepted configuration update (services.md §9.4)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.domain.canary.update_report import UpdateReport
from modelyard.domain.rollout.outcome import Result
from modelyard.store.tables.service import UpdateLog

PUBLISHED_LIMIT = 100
"""Routing versions that an update's log keeps; the oldest are dropped."""


def open_log(session: AsyncSession, service_id: str, revision: int, now: int) -> None:
    """Write the log of an accepted configuration update; ``now`` (ms) is its key."""
    session.add(
        UpdateLog(
            service_id=service_id, update_time=now, revision=revision, result=Result.RUNNING.value
        )
    )


async def update_runs(session: AsyncSession, service_id: str) -> bool:
    """Whether an update of the service is under way."""
    statement = select(UpdateLog.update_time).where(
        UpdateLog.service_id == service_id, UpdateLog.result == Result.RUNNING.value
    )
    return (await session.scalars(statement)).first() is not None


async def open_logs(session: AsyncSession, service_id: str) -> Sequence[UpdateLog]:
    """Find the logs of updates that run, or are being rolled back."""
    statement = select(UpdateLog).where(
        UpdateLog.service_id == service_id, UpdateLog.closed_at.is_(None)
    )
    return list(await session.scalars(statement))


async def close_logs(
    session: AsyncSession,
    service_id: str,
    result: Result,
    now: int,
    reason: str = "",
    *,
    rolling_back: bool = False,
) -> list[UpdateLog]:
    """Write the result of every update that runs, and return their logs.

    With ``rolling_back`` they stay open until ``finish_rollbacks``.
    """
    running = list(
        await session.scalars(
            select(UpdateLog).where(
                UpdateLog.service_id == service_id, UpdateLog.result == Result.RUNNING.value
            )
        )
    )
    for log in running:
        log.result, log.reason = result.value, reason
        log.closed_at = None if rolling_back else now
    return running


async def overtake(session: AsyncSession, service_id: str, now: int) -> None:
    """Close every open log, for an update that takes their place."""
    for log in await open_logs(session, service_id):
        if log.result == Result.RUNNING.value:
            log.result, log.reason = Result.FAIL.value, "a later update took its place"
        log.closed_at = now


def succeed(under_way: Sequence[UpdateLog], now: int) -> list[int]:
    """Close the logs of the updates that still run, as succeeded; returns their keys (ms)."""
    running = [log for log in under_way if log.result == Result.RUNNING.value]
    for log in running:
        log.result, log.closed_at = Result.SUCCESS.value, now
    return [log.update_time for log in running]


def note_published(under_way: Sequence[UpdateLog], version: str) -> None:
    """Add a routing version that the gateway acknowledged to the logs of updates ``under_way``."""
    for log in under_way:
        if version and version not in log.published[-1:]:
            log.published = [*log.published[1 - PUBLISHED_LIMIT :], version]


async def finish_rollbacks(session: AsyncSession, service_id: str, now: int) -> bool:
    """Close failed updates whose former revision is restored; True when there was one."""
    statement = (
        update(UpdateLog)
        .where(
            UpdateLog.service_id == service_id,
            UpdateLog.result == Result.FAIL.value,
            UpdateLog.closed_at.is_(None),
        )
        .values(closed_at=now)
    )
    return bool((await session.execute(statement)).rowcount)  # type: ignore[attr-defined]


async def unreported(session: AsyncSession, limit: int) -> Sequence[UpdateLog]:
    """Find updates without a report: those that have ended first, then those that run.

    The condition is ``UNREPORTED``, in the terms of the index of these rows.
    """
    statement = (
        select(UpdateLog)
        .where(
            UpdateLog.report.is_(None),
            or_(UpdateLog.closed_at.is_(None), UpdateLog.closed_at > UpdateLog.update_time),
        )
        .order_by(UpdateLog.closed_at.is_(None), UpdateLog.closed_at)
        .limit(limit)
    )
    return list(await session.scalars(statement))


async def write_report(
    session: AsyncSession, service_id: str, update_time: int, report: UpdateReport
) -> None:
    """Write the report of an update, unless it has one."""
    await session.execute(
        update(UpdateLog)
        .where(
            UpdateLog.service_id == service_id,
            UpdateLog.update_time == update_time,
            UpdateLog.report.is_(None),
        )
        .values(report=report.to_json())
    )
