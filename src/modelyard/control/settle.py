"""Writing back what a pass has come to: statuses, revisions, update logs, events."""

from __future__ import annotations

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.control import journal
from modelyard.domain.observed import Observed, Wanted
from modelyard.domain.outcome import Outcome, Result, Turn, outcome
from modelyard.domain.planner import Plan
from modelyard.store.state import ServiceState
from modelyard.store.tables.service import Service

RETRY_NOW = 0


async def settle(
    session: AsyncSession, state: ServiceState, observed: Observed, todo: Plan, now: int
) -> int | None:
    """Apply a pass's outcome to the service's row; gives when to look again (ms), or None.

    Facts (which revision serves) are always written; what depends on the wish only while the wish
    is the one the plan was made for.
    """
    result = outcome(state.desired, observed, todo)
    service = await session.get(Service, state.service.id, populate_existing=True)
    if service is None:
        return None
    service.serving_revision = result.serving
    if service.generation != state.service.generation:
        return RETRY_NOW
    if result.turn is Turn.ENDED and service.wanted == Wanted.DELETED.value:
        await session.execute(delete(Service).where(Service.id == service.id))
        return None
    check_at = await _apply(session, service, result, todo, now)
    if service.due_time is not None and service.wanted == Wanted.RUNNING.value:
        check_at = service.due_time if check_at is None else min(check_at, service.due_time)
    service.check_at = check_at
    return check_at


async def _apply(
    session: AsyncSession, service: Service, result: Outcome, todo: Plan, now: int
) -> int | None:
    service.live_revision = result.live
    service.progress = result.progress
    _change_status(session, service, result, now)
    if result.turn is Turn.ROLLS_BACK:
        await _roll_back(session, service, result, now)
        return RETRY_NOW
    if result.turn is Turn.GIVES_UP:
        await _give_up(session, service, result, now)
        return RETRY_NOW
    if result.turn is Turn.ARRIVED:
        await _arrive(session, service, now)
    elif result.progress == 100 and await journal.finish_rollbacks(session, service.id, now):
        journal.event(session, service.id, "update rolled back", now)
    return todo.check_at


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
        kind = journal.ABNORMAL if after == "concerning" else journal.NORMAL
        journal.event(session, service.id, told[after], now, kind)


async def _arrive(session: AsyncSession, service: Service, now: int) -> None:
    service.error_msg = ""
    for log in await journal.close_logs(session, service.id, Result.SUCCESS, now):
        service.update_time = log.update_time
        journal.event(session, service.id, "service updated", now)


async def _roll_back(session: AsyncSession, service: Service, result: Outcome, now: int) -> None:
    assert result.live is not None
    service.desired_revision = result.live
    service.wished_at = now
    service.generation += 1
    await journal.close_logs(session, service.id, Result.FAIL, now, result.cause, rolling_back=True)
    info = f"update failed, rolling back: {result.cause}"
    journal.event(session, service.id, info, now, journal.ABNORMAL)


async def _give_up(session: AsyncSession, service: Service, result: Outcome, now: int) -> None:
    service.given_up = True
    service.due_time = None
    service.error_msg = result.cause
    service.generation += 1
    await journal.close_logs(session, service.id, Result.FAIL, now, result.cause)
    info = f"service failed: {result.cause}"
    journal.event(session, service.id, info, now, journal.ABNORMAL)
