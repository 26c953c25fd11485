"""Writing down what no revision holds: description, schedule, priority…"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.control import events
from modelyard.domain.admission.requests import ServiceUpdate
from modelyard.domain.rollout.state import DesiredStatus
from modelyard.domain.service.config import Schedule
from modelyard.store.tables.service import Service


def describe(session: AsyncSession, service: Service, wish: ServiceUpdate, now: int) -> None:
    """Put the describing part of ``wish`` into the row (services.md §3.1, §6)."""
    if not wish.describes:
        return
    service.operation_time = now
    service.generation += 1
    if wish.description is not None:
        service.description = wish.description
    if wish.additional_properties is not None:
        service.additional_properties = wish.additional_properties
    if wish.priority is not None:
        service.priority = wish.priority
    if wish.secrets is not None:
        service.secrets = [secret.to_json() for secret in wish.secrets]
    if wish.schedule is None:
        return
    schedule = wish.schedule[0] if wish.schedule else None
    if schedule is None and service.schedule is not None:
        events.event(session, service.id, "auto stop disabled", now)
    service.schedule = schedule.to_json() if schedule else None
    if wish.status != "stopped":
        arm(service, now)
        tell_auto_stop(session, service, now)


def arm(service: Service, now: int) -> None:
    """The timer runs while the service is wanted to run (services.md §6)."""
    running = service.wanted == DesiredStatus.RUNNING.value and not service.given_up
    schedule = Schedule.from_json(service.schedule) if service.schedule else None
    service.due_time = now + schedule.length_ms if schedule and running else None


def tell_auto_stop(session: AsyncSession, service: Service, now: int) -> None:
    """The event that says when the service will be stopped, if it will."""
    if service.due_time is not None:
        seconds = (service.due_time - now) // 1000
        events.event(session, service.id, f"auto stop enabled, {seconds} seconds left", now)
