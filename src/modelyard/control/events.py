"""Events and update logs: what a service's owner is told (services.md §9.4, §9.5)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.domain.rollout.outcome import Result
from modelyard.store.tables.service import Event, UpdateLog

NORMAL, ABNORMAL = "normal", "abnormal"
PUBLISHED_LIMIT = 100
"""Routing versions that an update's log remembers; the oldest are forgotten."""


def event(session: AsyncSession, service_id: str, info: str, now: int, kind: str = NORMAL) -> None:
    """Tell the service's owner ``info``; ``kind`` is normal or abnormal."""
    session.add(Event(service_id=service_id, event_type=kind, event_info=info, occur_time=now))


def open_log(session: AsyncSession, service_id: str, revision: int, now: int) -> None:
    """Begin the log of an accepted configuration update; ``now`` (ms) is its key."""
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


async def close_logs(
    session: AsyncSession,
    service_id: str,
    result: Result,
    now: int,
    reason: str = "",
    *,
    rolling_back: bool = False,
) -> list[UpdateLog]:
    """Give every log that still runs its result; gives them back.

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


async def open_logs(session: AsyncSession, service_id: str) -> Sequence[UpdateLog]:
    """The logs of updates that run, or are being rolled back."""
    statement = select(UpdateLog).where(
        UpdateLog.service_id == service_id, UpdateLog.closed_at.is_(None)
    )
    return list(await session.scalars(statement))


async def overtake(session: AsyncSession, service_id: str, now: int) -> None:
    """Close every log that is open, for an update that takes their place."""
    for log in await open_logs(session, service_id):
        if log.result == Result.RUNNING.value:
            log.result, log.reason = Result.FAIL.value, "a later update took its place"
        log.closed_at = now


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
