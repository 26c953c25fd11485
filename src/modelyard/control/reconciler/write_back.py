"""Writing back the outcome of a reconcile: desired state, status, update logs, events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.control.batch import runs_reconcile
from modelyard.control.batch.runs import abandon_run
from modelyard.control.reconciler import canary_step
from modelyard.domain.batch.run import RunOutcome
from modelyard.domain.canary.analysis import Decision
from modelyard.domain.rollout.outcome import Outcome, Result, Transition, outcome
from modelyard.domain.rollout.planner import Plan
from modelyard.domain.rollout.state import Desired, DesiredStatus, Observed
from modelyard.domain.rollout.transition import StepDecision, apply, decide
from modelyard.domain.service.lifecycle import Status
from modelyard.store import events
from modelyard.store.database import Session
from modelyard.store.service import update_logs
from modelyard.store.service.desired import write_desired
from modelyard.store.service.state import ServiceState
from modelyard.store.service.status import (
    delete_service,
    record_end,
    record_progress,
    record_serving,
    record_status,
    record_success,
    schedule_check,
)
from modelyard.store.tables.service import Service, UpdateLog

RETRY_NOW = 0


@dataclass(frozen=True, slots=True)
class ExecutedPlan:
    """A plan that was executed, and what it was made for.

    ``step``: what the canary analysis had found before. ``published``: the routing version that
    the gateway acknowledged. ``runs``: those of a batch service.
    """

    state: ServiceState
    desired: Desired
    observed: Observed
    todo: Plan
    step: StepDecision | None
    published: str
    runs: runs_reconcile.Runs | None = None


async def write_back(
    session: Session, service: Service, done: ExecutedPlan, now: int
) -> int | None:
    """Write the outcome to the service's row; returns when to look again (ms), or None.

    Facts (which revision serves) are always written; what depends on the desired state only while
    it is the one that the plan was made for.
    """
    result = outcome(done.desired, done.observed, done.todo)
    generation = done.state.service.generation
    if (
        service.generation == generation
        and result.transition is Transition.ENDED
        and service.desired_status == DesiredStatus.DELETED.value
    ):
        # Before anything else is written: no row may refer to a service that goes.
        await delete_service(session, service.id)
        return None
    due = await done.runs.note(session, service, now) if done.runs else None
    unchanged = service.generation == generation
    if unchanged or done.runs is None:
        # No gateway acknowledges what a batch service serves: an outdated plan proves nothing.
        await record_serving(session, service, result.serving, now)
    if not unchanged:
        return RETRY_NOW
    check_at = await _apply(session, service, done, result, now)
    moments = [check_at, due]
    return schedule_check(service, min((at for at in moments if at is not None), default=None))


async def _apply(
    session: Session, service: Service, done: ExecutedPlan, result: Outcome, now: int
) -> int | None:
    before = decide(done.desired, done.step, now) if done.step else done.desired
    after = apply(before, result, now)
    write_desired(service, after)
    record_progress(service, result.progress)
    _report_status(session, service, result, now)
    under_way: Sequence[UpdateLog] = ()
    completed = result.transition is Transition.COMPLETED
    if completed or result.live != done.desired.target.number:
        under_way = await update_logs.open_logs(session, service.id)
        update_logs.note_published(under_way, done.published)
    again = _report_step(session, service.id, done, result, now)
    match result.transition:
        case Transition.ROLLS_BACK:
            await _report_rollback(session, service, result, now)
            return RETRY_NOW
        case Transition.FAILED:
            await _report_failure(session, service, result, now)
            return RETRY_NOW
        case Transition.COMPLETED:
            _report_success(session, service, under_way, now)
            # The next plan knows what is kept, and when that ends.
            again = _report_kept(session, service.id, before, after, now) or again
        case _:
            if result.progress == 100 and await update_logs.finish_rollbacks(
                session, service.id, now
            ):
                events.record(session, service.id, "update rolled back", now)
    return RETRY_NOW if again else done.todo.check_at


def _report_step(
    session: Session, service_id: str, done: ExecutedPlan, result: Outcome, now: int
) -> bool:
    """Report on the canary step; True when there is something new to do at once."""
    guard, step = done.state.guard, done.desired.step
    if guard is None or step is None:
        return False
    if done.step is not None:
        canary_step.report_decision(session, service_id, guard, step, done.step, now)
        return done.step.decision is not Decision.HOLD
    if result.step_begun:
        canary_step.report_begin(session, service_id, guard, step, now)
    return result.step_begun


def _report_kept(
    session: Session, service_id: str, before: Desired, after: Desired, now: int
) -> bool:
    """Report that the former revision stays loaded; True when it does, from now on."""
    kept = after.kept
    if kept is None or kept == before.kept:
        return False
    seconds = (kept.until - now) // 1000
    number = kept.revision.number
    info = f"revision {number} stays loaded for {seconds} seconds: going back is immediate"
    events.record(session, service_id, info, now)
    return True


def _report_status(session: Session, service: Service, result: Outcome, now: int) -> None:
    before, after = record_status(service, result.status, now), result.status
    if before is after:
        return
    messages = {
        Status.RUNNING: "service started" if before is Status.DEPLOYING else "service recovered",
        Status.CONCERNING: "service is concerning: too few instances are ready",
        Status.STOPPED: "service stopped",
    }
    if after in messages:
        kind = events.ABNORMAL if after is Status.CONCERNING else events.NORMAL
        events.record(session, service.id, messages[after], now, kind)


def _report_success(
    session: Session, service: Service, under_way: Sequence[UpdateLog], now: int
) -> None:
    record_success(service)
    for update_time in update_logs.succeed(under_way, now):
        record_success(service, update_time)
        events.record(session, service.id, "service updated", now)


async def _report_rollback(session: Session, service: Service, result: Outcome, now: int) -> None:
    await update_logs.close_logs(
        session, service.id, Result.FAIL, now, result.cause, rolling_back=True
    )
    info = f"update failed, rolling back: {result.cause}"
    events.record(session, service.id, info, now, events.ABNORMAL)


async def _report_failure(session: Session, service: Service, result: Outcome, now: int) -> None:
    record_end(service, result.cause)
    await update_logs.close_logs(session, service.id, Result.FAIL, now, result.cause)
    await update_logs.finish_rollbacks(session, service.id, now)
    await abandon_run(session, service, RunOutcome.FAILED, result.cause, now)
    info = f"service failed: {result.cause}"
    events.record(session, service.id, info, now, events.ABNORMAL)
