"""Writing an admitted change, a stop or a deletion (services.md §3, §4, §8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from modelyard.control.batch.runs import abandon_run, continues
from modelyard.control.changes.admission import AdmittedChange, Author
from modelyard.control.changes.capacity import check_capacity
from modelyard.control.changes.preconditions import Accepted
from modelyard.control.changes.quotas import check_quotas
from modelyard.control.changes.revisions import (
    add_configuration,
    report_configuration,
    report_start,
    write_description,
)
from modelyard.domain.batch.run import RunOutcome
from modelyard.domain.rollout.outcome import Result
from modelyard.domain.rollout.state import Desired, DesiredStatus, RevisionTarget
from modelyard.domain.rollout.transition import (
    Change,
    Configure,
    Delete,
    Describe,
    Start,
    Stop,
    accept,
    accepted_status,
)
from modelyard.domain.service.batch_job import BATCH
from modelyard.domain.service.lifecycle import Status
from modelyard.settings import Settings
from modelyard.store import events
from modelyard.store.database import Session, flush
from modelyard.store.service import update_logs
from modelyard.store.service.desired import read_desired, write_accepted
from modelyard.store.service.services import last_of
from modelyard.store.tables.service import Service


@dataclass(frozen=True, slots=True)
class Numbers:
    """Of an accepted configuration: its revision, and the key (ms) of its update log.

    ``new_run``: a batch service begins a new run by it.
    """

    revision: int
    update_time: int
    new_run: bool = False


async def next_numbers(session: Session, admitted: AdmittedChange, now: int) -> Numbers:
    """Return what the admitted configuration gets at ``now`` (ms); zeros when there is none."""
    service, new = admitted.service, admitted.new
    if new is None:
        return Numbers(0, 0)
    last = await last_of(session, service.id)
    new_run = (
        service.infer_type == BATCH
        and admitted.desired.wanted is DesiredStatus.RUNNING
        and admitted.update.status is None
        and not await continues(session, service.id, new.config)
    )
    return Numbers(last.revision + 1, max(now, last.update_time + 1), new_run)


def requested_changes(admitted: AdmittedChange, numbers: Numbers) -> Iterator[Change]:
    """Yield what the admitted change does to the desired state, in its order."""
    update, new, status = admitted.update, admitted.new, admitted.service.status
    if update.describes:
        yield Describe()
    # A stop comes first: what is configured beside it is for the next start.
    if update.status == "stopped" and status != Status.STOPPED.value:
        yield Stop()
    if new is not None:
        target = RevisionTarget.of(numbers.revision, new.config, new.rollout)
        yield Configure(target, numbers.new_run)
    if update.status == "running" and status != Status.RUNNING.value:
        yield Start()


async def change_service(
    session: Session, settings: Settings, admitted: AdmittedChange, author: Author, now: int
) -> Accepted:
    """Write everything that ``admitted`` asks for.

    Raises ``InvalidRequest`` when it takes more than a quota or a pool has.
    """
    service, update, new = admitted.service, admitted.update, admitted.new
    numbers = await next_numbers(session, admitted, now)
    desired = admitted.desired
    for change in requested_changes(admitted, numbers):
        if isinstance(change, Configure) and new is not None:
            await add_configuration(
                session, service.id, change, new, author.user_id, numbers.update_time, now
            )
        desired = _write(service, desired, change, now)
        match change:
            case Describe():
                write_description(session, service, desired, update, now)
            case Stop():
                await _report_stop(session, service, "stopping service", now)
            case Configure() if new is not None:
                await report_configuration(session, service, change, new, numbers.update_time, now)
            case Start():
                report_start(session, service, now, admitted.retry_of)
    if update.configures or update.status == "running":
        await flush(session)
        await check_quotas(session, settings, author.project_id)
        await check_capacity(session, settings, service, new)
    if new is None:
        return Accepted(service.id, service.generation)
    deploys = tuple(version.fingerprint for version in new.config)
    return Accepted(service.id, service.generation, numbers.update_time, numbers.revision, deploys)


async def stop_service(
    session: Session, service: Service, change: Stop | Delete, message: str, now: int
) -> None:
    """Begin to stop or delete a service, for a caller or the clock; ``message`` is the event's."""
    _write(service, await read_desired(session, service), change, now)
    await _report_stop(session, service, message, now)


async def touch_service(session: Session, service: Service, now: int) -> None:
    """Note at ``now`` (ms) that something which no revision holds was changed."""
    _write(service, await read_desired(session, service), Describe(), now)


def _write(service: Service, desired: Desired, change: Change, now: int) -> Desired:
    after = accept(desired, change, now)
    write_accepted(service, after, accepted_status(desired, change), now)
    return after


async def _report_stop(session: Session, service: Service, message: str, now: int) -> None:
    reason = "the service was stopped"
    await abandon_run(session, service, RunOutcome.STOPPED, reason, now)
    await update_logs.close_logs(session, service.id, Result.FAIL, now, reason)
    await update_logs.finish_rollbacks(session, service.id, now)
    events.record(session, service.id, message, now)
