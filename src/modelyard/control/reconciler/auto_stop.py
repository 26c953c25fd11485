"""Auto stop: a row's due time against the clock (services.md §6)."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.control.changes.stop import begin_stop
from modelyard.domain.rollout.state import DesiredStatus
from modelyard.store.tables.service import Service


async def stop_when_due(session: AsyncSession, service: Service, now: int) -> None:
    """Turn an expired schedule into the wish to stop, exactly once."""
    if (
        service.due_time is not None
        and service.due_time <= now
        and service.wanted == DesiredStatus.RUNNING.value
    ):
        told = "stopped because the auto-stop time has expired"
        await begin_stop(session, service, now, DesiredStatus.STOPPED, told)
