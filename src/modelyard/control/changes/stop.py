"""Beginning to stop or delete a service: the same whoever asks, a caller or the clock."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.control import events
from modelyard.control.batch.runs import abandon_run
from modelyard.domain.batch.run import RunOutcome
from modelyard.domain.rollout.outcome import Result
from modelyard.domain.rollout.state import DesiredStatus
from modelyard.domain.service.lifecycle import Status
from modelyard.store.tables.service import Service


async def begin_stop(
    session: AsyncSession, service: Service, now: int, wanted: DesiredStatus, told: str
) -> None:
    """Turn the wish to ``wanted`` (stopped or deleted); ``told`` is the event's text."""
    deleted = wanted is DesiredStatus.DELETED
    service.wanted = wanted.value
    service.status = (Status.DELETING if deleted else Status.STOPPING).value
    service.given_up = False
    service.error_msg = ""
    service.due_time = None
    service.transition_at = service.wished_at = service.operation_time = now
    service.generation += 1
    await abandon_run(session, service, RunOutcome.STOPPED, "the service was stopped", now)
    await events.close_logs(session, service.id, Result.FAIL, now, "the service was stopped")
    await events.finish_rollbacks(session, service.id, now)
    events.event(session, service.id, told, now)
