"""Writing what is true of a service: its status, what it serves, why it failed."""

from __future__ import annotations

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.domain.service.lifecycle import Status
from modelyard.store.tables.service import Service, ServingPeriod


async def record_serving(
    session: AsyncSession, service: Service, revision: int | None, now: int
) -> None:
    """Record which revision serves from ``now`` (ms) on; None: nothing does."""
    if service.serving_revision == revision:
        return
    service.serving_revision = revision
    last = await session.scalar(
        select(func.max(ServingPeriod.since)).where(ServingPeriod.service_id == service.id)
    )
    # Periods stay in their order, also when the clock was set back.
    since = max(now, (last or 0) + 1)
    session.add(ServingPeriod(service_id=service.id, since=since, revision=revision))


def record_status(service: Service, status: Status, now: int) -> Status:
    """Record the status; returns the one before."""
    before = Status(service.status)
    if status is not before:
        service.status = status.value
        service.transition_at = now
    return before


def record_progress(service: Service, progress: int) -> None:
    """Record how much of the target is ready, in percent."""
    service.progress = progress


def record_end(service: Service, reason: str) -> None:
    """Record that the service waits for its caller, and why it failed, if it did."""
    service.due_time = None
    service.error_msg = reason


def record_success(service: Service, update_time: int | None = None) -> None:
    """Record that the target is reached; ``update_time``: the key (ms) of its update."""
    service.error_msg = ""
    if update_time is not None:
        service.update_time = update_time


def schedule_check(service: Service, at: int | None) -> int | None:
    """Have the service reconciled at ``at`` (ms), or when its auto-stop time comes; returns when.

    None: only when something happens to it.
    """
    moments = [at, service.due_time]
    service.check_at = min((m for m in moments if m is not None), default=None)
    return service.check_at


async def delete_service(session: AsyncSession, service_id: str) -> None:
    """Delete the service's row, and with it all that belongs to it."""
    await session.execute(delete(Service).where(Service.id == service_id))
