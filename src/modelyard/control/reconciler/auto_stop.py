"""Auto stop: a row's due time against the clock (services.md §6)."""

from __future__ import annotations

from modelyard.control.changes.update import stop_service
from modelyard.domain.rollout.state import DesiredStatus
from modelyard.domain.rollout.transition import Stop
from modelyard.store.database import Session
from modelyard.store.tables.service import Service


async def stop_when_due(session: Session, service: Service, now: int) -> None:
    """Stop a service whose schedule has expired, exactly once."""
    if (
        service.due_time is not None
        and service.due_time <= now
        and service.desired_status == DesiredStatus.RUNNING.value
    ):
        message = "stopped because the auto-stop time has expired"
        await stop_service(session, service, Stop(), message, now)
