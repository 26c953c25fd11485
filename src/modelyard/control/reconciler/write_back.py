"""Writing back what a pass has come to: statuses, revisions, update logs, events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.control import events
from modelyard.control.batch import runs_reconcile
from modelyard.control.batch.runs import abandon_run
from modelyard.control.reconciler import canary_step
from modelyard.domain.batch.run import RunOutcome
from modelyard.domain.canary.analysis import Decision
from modelyard.domain.rollout.outcome import Outcome, Result, Transition, outcome
from modelyard.domain.rollout.planner import Plan, Verdict
from modelyard.domain.rollout.planning_state import PlanningState
from modelyard.domain.rollout.state import Desired, DesiredStatus, Observed
from modelyard.store.service.state import ServiceState
from modelyard.store.tables.service import Service, ServingPeriod, UpdateLog

RETRY_NOW = 0


@dataclass(frozen=True, slots=True)
class ExecutedPlan:
    """A plan that was carried out. ``desired`` is what it was made for; ``look`` what the guard
    had seen before it, ``published`` the routing version that the gateway acknowledged, ``runs``
    those of a batch service.
    """

    state: ServiceState
    desired: Desired
    observed: Observed
    todo: Plan
    look: canary_step.Look | None
    published: str
    runs: runs_reconcile.Runs | None = None


async def write_back(
    session: AsyncSession, service: Service, done: ExecutedPlan, now: int
) -> int | None:
    """Apply a pass's outcome to the service's row; gives when to look again (ms), or None.

    Facts (which revision serves) are always written; what depends on the wish only while the wish
    is the one the plan was made for.
    """
    result = outcome(done.desired, done.observed, done.todo)
    generation = done.state.service.generation
    if (
        service.generation == generation
        and result.turn is Transition.ENDED
        and service.wanted == DesiredStatus.DELETED.value
    ):
        # Before anything else is noted: no row may refer to a service that goes.
        await session.execute(delete(Service).where(Service.id == service.id))
        return None
    due = await done.runs.note(session, service, now) if done.runs else None
    same_wish = service.generation == generation
    if same_wish or done.runs is None:
        # No gateway has acknowledged what a batch service serves: an old wish's plan tells nothing.
        await _note_serving(session, service, result.serving, now)
    if not same_wish:
        return RETRY_NOW
    check_at = await _apply(session, service, done, result, now)
    check_at = min((at for at in (check_at, due) if at is not None), default=None)
    if service.due_time is not None and service.wanted == DesiredStatus.RUNNING.value:
        check_at = service.due_time if check_at is None else min(check_at, service.due_time)
    service.check_at = check_at
    return check_at


async def _note_serving(
    session: AsyncSession, service: Service, serving: int | None, now: int
) -> None:
    if service.serving_revision != serving:
        service.serving_revision = serving
        last = await session.scalar(
            select(func.max(ServingPeriod.since)).where(ServingPeriod.service_id == service.id)
        )
        # Periods stay in their order, also when the clock was set back.
        since = max(now, (last or 0) + 1)
        session.add(ServingPeriod(service_id=service.id, since=since, revision=serving))


async def _apply(
    session: AsyncSession, service: Service, done: ExecutedPlan, result: Outcome, now: int
) -> int | None:
    former = service.live_revision
    service.live_revision = result.live
    service.progress = result.progress
    _change_status(session, service, result, now)
    under_way: Sequence[UpdateLog] = ()
    if service.live_revision != service.desired_revision or result.turn is Transition.COMPLETED:
        under_way = await events.open_logs(session, service.id)
        events.note_published(under_way, done.published)
    again = _guard(session, service, done, now)
    if result.turn is Transition.ROLLS_BACK:
        await _roll_back(session, service, result, now)
        return RETRY_NOW
    if result.turn is Transition.FAILED:
        await _give_up(session, service, result, now)
        return RETRY_NOW
    if result.turn is Transition.COMPLETED:
        _arrive(session, service, under_way, now)
        # The next plan knows what is kept, and when that ends.
        again = _keep(session, service, done, former, now) or again
    elif result.progress == 100 and await events.finish_rollbacks(session, service.id, now):
        events.event(session, service.id, "update rolled back", now)
    _forget_kept(service, done, now)
    return RETRY_NOW if again else done.todo.check_at


def _guard(session: AsyncSession, service: Service, done: ExecutedPlan, now: int) -> bool:
    """Take a guarded rollout on; True when there is something new to do at once."""
    guard, step = done.state.guard, done.desired.step
    if guard is None:
        return False
    if done.look is not None:
        canary_step.take(session, service, guard, done.look, now)
        return done.look.decision is not Decision.HOLD
    if step is not None and not step.begun and done.todo.percent == step.percent:
        canary_step.began(session, service, guard, now)
        return True
    return False


def _keep(
    session: AsyncSession, service: Service, done: ExecutedPlan, former: int | None, now: int
) -> bool:
    """Note that the former revision stays loaded, for as long as the new one asks for it.

    True when it does.
    """
    keep_ms = done.desired.target.keep_former_ms
    keeps = bool(keep_ms) and former is not None
    if keeps:
        service.kept_revision, service.kept_until = former, now + keep_ms
        seconds = keep_ms // 1000
        info = f"revision {former} stays loaded for {seconds} seconds: going back is immediate"
        events.event(session, service.id, info, now)
    return keeps


def _forget_kept(service: Service, done: ExecutedPlan, now: int) -> None:
    """Once nothing of it is loaded any more, so that nobody counts it as taking room.

    While an update is under way its instances may be the target's, and only kept again later.
    """
    kept = done.desired.kept
    if kept is None or (service.kept_revision, service.kept_until) != (
        kept.revision.number,
        kept.until,
    ):
        return
    ended = done.todo.verdict is Verdict.ENDED
    under_way = service.live_revision != service.desired_revision
    if under_way and not ended and now < kept.until:
        return
    if not PlanningState(done.desired, done.observed, now).former:
        service.kept_revision = service.kept_until = None


def _change_status(session: AsyncSession, service: Service, result: Outcome, now: int) -> None:
    before, after = service.status, result.status.value
    if before == after:
        return
    service.status = after
    service.transition_at = now
    told = {
        "running": "service started" if before == "deploying" else "service recovered",
        "concerning": "service is concerning: too few instances are ready",
        "stopped": "service stopped",
    }
    if after in told:
        kind = events.ABNORMAL if after == "concerning" else events.NORMAL
        events.event(session, service.id, told[after], now, kind)


def _arrive(
    session: AsyncSession, service: Service, under_way: Sequence[UpdateLog], now: int
) -> None:
    service.error_msg = ""
    for log in under_way:
        if log.result != Result.RUNNING.value:
            continue
        log.result, log.closed_at = Result.SUCCESS.value, now
        service.update_time = log.update_time
        events.event(session, service.id, "service updated", now)


async def _roll_back(session: AsyncSession, service: Service, result: Outcome, now: int) -> None:
    assert result.live is not None
    service.desired_revision = result.live
    service.wished_at = now
    service.generation += 1
    await events.close_logs(session, service.id, Result.FAIL, now, result.cause, rolling_back=True)
    info = f"update failed, rolling back: {result.cause}"
    events.event(session, service.id, info, now, events.ABNORMAL)


async def _give_up(session: AsyncSession, service: Service, result: Outcome, now: int) -> None:
    service.given_up = True
    service.due_time = None
    service.error_msg = result.cause
    service.generation += 1
    await events.close_logs(session, service.id, Result.FAIL, now, result.cause)
    await events.finish_rollbacks(session, service.id, now)
    await abandon_run(session, service, RunOutcome.FAILED, result.cause, now)
    info = f"service failed: {result.cause}"
    events.event(session, service.id, info, now, events.ABNORMAL)
