"""Writing down a new revision and the wish to reach it; starting (services.md §7, §8)."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.control import events
from modelyard.control.batch.runs import begin_run, continue_or_renew
from modelyard.control.changes.description import arm, tell_auto_stop
from modelyard.domain.rollout.outcome import Result
from modelyard.domain.rollout.state import DesiredStatus
from modelyard.domain.service.batch_job import BATCH
from modelyard.domain.service.lifecycle import Status
from modelyard.store.service import services as store
from modelyard.store.tables.service import Service


async def configure(
    session: AsyncSession, service: Service, revision: store.NewRevision, author: str, now: int
) -> int:
    """Want ``revision``, by the user ``author``; gives the update's key (ms)."""
    last = await store.last_of(session, service.id)
    update_time, number = max(now, last.update_time + 1), last.revision + 1
    await events.overtake(session, service.id, now)
    store.add_revision(session, service.id, number, revision, author, update_time)
    events.open_log(session, service.id, number, update_time)
    await session.flush()
    service.desired_revision = number
    service.rollout_step, service.rollout_since, service.rollout_rejected = 0, None, ""
    service.wished_at = service.operation_time = now
    _from_the_first_step(service)
    service.generation += 1
    if service.wanted == DesiredStatus.STOPPED.value:
        await events.close_logs(session, service.id, Result.SUCCESS, now)
        service.update_time = update_time
        events.event(session, service.id, "configuration stored for the next start", now)
        return update_time
    told = f", back to revision {revision.origin}" if revision.origin else ""
    events.event(session, service.id, f"updating service{told}", now)
    goes_on = service.status not in (Status.FAILED.value, Status.FINISHED.value)
    if service.infer_type == BATCH:
        goes_on = await continue_or_renew(session, service, revision.config, now)
    if not goes_on:
        _deploy(service, now)
    return update_time


def start(session: AsyncSession, service: Service, now: int, retry_of: str = "") -> None:
    """Want the service to run, with the configuration that was asked for last.

    For a batch service that is a new run; ``retry_of``: one whose failures it computes again.
    """
    _deploy(service, now)
    if service.infer_type == BATCH:
        begin_run(session, service, now, retry_of)
    events.event(session, service.id, "starting service", now)
    tell_auto_stop(session, service, now)


def _deploy(service: Service, now: int) -> None:
    service.wanted = DesiredStatus.RUNNING.value
    service.given_up = False
    service.error_msg = ""
    service.status = Status.DEPLOYING.value
    service.progress = 0
    service.publish_at = service.transition_at = now
    service.wished_at = service.operation_time = now
    service.generation += 1
    _from_the_first_step(service)
    arm(service, now)


def _from_the_first_step(service: Service) -> None:
    """What a guarded rollout has come to counts for one wish only."""
    service.rollout_step = 0
    service.rollout_since = None
    service.rollout_rejected = ""
