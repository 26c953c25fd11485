"""Forgetting what nobody asks for any more, so that the database does not grow with time."""

from __future__ import annotations

from sqlalchemy import delete, select, update

from modelyard.control.changes.idempotency import forget_answers
from modelyard.control.ports import Drivers
from modelyard.steps import Step
from modelyard.store.batch_runs import newest
from modelyard.store.database import Database
from modelyard.store.service.state import FAILURE_MEMORY_MS
from modelyard.store.tables.batch import BatchRun
from modelyard.store.tables.service import Event, Instance

PERIOD_S = 600.0
EVENT_MEMORY_MS = 30 * 24 * 3_600_000
"""Events are kept for one month (services.md §9.5)."""


async def forget(database: Database, now: int) -> None:
    """Delete ended instances that no back-off counts any more, events older than a month, and
    answers to repeated calls older than a day.
    """
    async with database.write(Step.RETENTION) as session:
        await session.execute(delete(Instance).where(Instance.ended_at < now - FAILURE_MEMORY_MS))
        await session.execute(delete(Event).where(Event.occur_time < now - EVENT_MEMORY_MS))
        await forget_answers(session, now)


async def forget_runs(database: Database, drivers: Drivers, keep_ms: int, now: int) -> None:
    """Remove what runs have left ``keep_ms`` after their end, unless a retry reads it; and the
    rows of runs of more than a month ago, but for the last of each service.
    """
    being_read = select(BatchRun.retry_of).where(BatchRun.closed_at.is_(None))
    over = (
        BatchRun.closed_at.is_not(None),
        BatchRun.finished_at <= now - keep_ms,
        BatchRun.task_id.not_in(being_read),
    )
    known = drivers.known()
    async with database.write(Step.RUN_FORGET) as session:
        found = set(await session.scalars(select(BatchRun.task_id).where(*over)))
        left = sorted(found.intersection(known))
        # Before they go, so that no retry of them begins.
        await session.execute(update(BatchRun).where(BatchRun.task_id.in_(left)).values(kept=False))
        old = select(BatchRun.task_id).where(
            *over, BatchRun.finished_at < now - EVENT_MEMORY_MS, ~newest()
        )
        await session.execute(delete(BatchRun).where(BatchRun.task_id.in_(old)))
    for task_id in left:
        await drivers.remove(task_id)
