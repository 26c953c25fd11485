"""Events and update logs: what a service's owner is told (services.md §9.4, §9.5)."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.domain.outcome import Result
from modelyard.store.tables.service import Event, UpdateLog

NORMAL, ABNORMAL = "normal", "abnormal"


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
