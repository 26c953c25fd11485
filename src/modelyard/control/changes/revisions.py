"""Writing a new revision, a start, and what no revision holds (services.md §3.1, §6, §7, §8)."""

from __future__ import annotations

from modelyard.control.batch.runs import begin_run, replace_run
from modelyard.domain.admission.requests import ServiceUpdate
from modelyard.domain.rollout.outcome import Result
from modelyard.domain.rollout.state import Desired, DesiredStatus
from modelyard.domain.rollout.transition import Configure
from modelyard.domain.service.batch_job import BATCH
from modelyard.store import events
from modelyard.store.database import Session, flush
from modelyard.store.service import update_logs
from modelyard.store.service.description import describe_service, set_schedule
from modelyard.store.service.services import NewRevision, add_revision
from modelyard.store.service.status import record_success
from modelyard.store.tables.service import Service


async def add_configuration(
    session: Session,
    service_id: str,
    change: Configure,
    revision: NewRevision,
    author: str,
    update_time: int,
    now: int,
) -> None:
    """Add the revision of an accepted ``change``, and open its log under the key ``update_time``.

    ``author``: the user's id. To be called before the change is written to the service's row.
    """
    number = change.target.number
    await update_logs.overtake(session, service_id, now)
    add_revision(session, service_id, number, revision, author, update_time)
    update_logs.open_log(session, service_id, number, update_time)
    await flush(session)


async def report_configuration(
    session: Session,
    service: Service,
    change: Configure,
    revision: NewRevision,
    update_time: int,
    now: int,
) -> None:
    """Report an accepted configuration, and begin the run of a batch service that it asks for."""
    if service.desired_status == DesiredStatus.STOPPED.value:
        await update_logs.close_logs(session, service.id, Result.SUCCESS, now)
        record_success(service, update_time)
        events.record(session, service.id, "configuration stored for the next start", now)
        return
    back = f", back to revision {revision.origin}" if revision.origin else ""
    events.record(session, service.id, f"updating service{back}", now)
    if change.new_run:
        await replace_run(session, service, now)


def report_start(session: Session, service: Service, now: int, retry_of: str = "") -> None:
    """Report an accepted start; of a batch service it begins a new run.

    ``retry_of``: the run whose failures it computes again.
    """
    if service.infer_type == BATCH:
        begin_run(session, service, now, retry_of)
    events.record(session, service.id, "starting service", now)
    report_auto_stop(session, service, now)


def write_description(
    session: Session, service: Service, desired: Desired, update: ServiceUpdate, now: int
) -> None:
    """Write the describing part of ``update`` to the row (services.md §3.1, §6)."""
    describe_service(service, update)
    if update.schedule is None:
        return
    if not update.schedule and service.schedule is not None:
        events.record(session, service.id, "auto stop disabled", now)
    set_schedule(service, desired, update.schedule[0] if update.schedule else None, now)
    if update.status != "stopped":
        report_auto_stop(session, service, now)


def report_auto_stop(session: Session, service: Service, now: int) -> None:
    """Report when the service will be stopped, if it has a schedule."""
    if service.due_time is not None:
        seconds = (service.due_time - now) // 1000
        events.record(session, service.id, f"auto stop enabled, {seconds} seconds left", now)
