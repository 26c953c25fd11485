"""Forgetting what nobody asks for any more, so that the database does not grow with time."""

from __future__ import annotations

from sqlalchemy import delete

from modelyard.control.idempotency import forget_answers
from modelyard.steps import Step
from modelyard.store.database import Database
from modelyard.store.state import FAILURE_MEMORY_MS
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
