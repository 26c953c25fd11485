"""Delete what is not asked for any more, so that the database does not grow with time."""

from __future__ import annotations

from modelyard.control.changes.idempotency import forget_answers
from modelyard.control.ports import Drivers
from modelyard.steps import Step
from modelyard.store.batch_runs import release_runs
from modelyard.store.database import Database
from modelyard.store.events import forget_events
from modelyard.store.service.instances import forget_instances
from modelyard.store.service.state import FAILURE_MEMORY_MS

PERIOD_S = 600.0
EVENT_MEMORY_MS = 30 * 24 * 3_600_000
"""Events are kept for one month (services.md §9.5)."""


async def forget(database: Database, now: int) -> None:
    """Delete ended instances that no backoff counts any more, events older than a month, and
    answers to repeated calls older than a day.
    """
    async with database.write(Step.RETENTION) as session:
        await forget_instances(session, now - FAILURE_MEMORY_MS)
        await forget_events(session, now - EVENT_MEMORY_MS)
        await forget_answers(session, now)


async def forget_runs(database: Database, drivers: Drivers, keep_ms: int, now: int) -> None:
    """Remove the folders of runs ``keep_ms`` after their end, unless a retry reads them, and the
    records of runs of more than a month ago, except the last one of each service.
    """
    known = drivers.known()
    async with database.write(Step.RUN_FORGET) as session:
        left = await release_runs(session, known, now - keep_ms, now - EVENT_MEMORY_MS)
    for task_id in left:
        await drivers.remove(task_id)
