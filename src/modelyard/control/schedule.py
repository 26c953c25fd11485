"""Auto stop: a row's due time against the clock (services.md §6)."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.control import journal
from modelyard.domain.lifecycle import Status
from modelyard.domain.observed import Wanted
from modelyard.store.tables.service import Service


async def stop_when_due(session: AsyncSession, service_id: str, now: int) -> None:
    """Turn an expired schedule into the wish to stop, exactly once."""
    service = await session.get(Service, service_id)
    if (
        service is None
        or service.due_time is None
        or service.due_time > now
        or service.wanted != Wanted.RUNNING.value
    ):
        return
    service.wanted = Wanted.STOPPED.value
    service.status = Status.STOPPING.value
    service.due_time = None
    service.generation += 1
    service.wished_at = service.transition_at = now
    journal.event(session, service_id, "stopped because the auto-stop time has expired", now)
