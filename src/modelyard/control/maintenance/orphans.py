"""Instances and batch drivers that run although no row says so any more: ended here, so that none
is left for ever.

They come from a control plane that died after it had written an instance off and before it had
ended its processes, or from a service that was deleted with what its runs had left.
"""

from __future__ import annotations

import structlog
from sqlalchemy import select

from modelyard.control.ports import Drivers, Runtime
from modelyard.store.batch_runs import runs_of_drivers
from modelyard.store.database import Database
from modelyard.store.tables.service import Instance

log = structlog.get_logger(__name__)

PERIOD_S = 60.0


async def end_orphans(database: Database, runtime: Runtime) -> None:
    """Stop every instance the runtime knows that has no living row."""
    # In this order: a row is written before its process is made, so nothing new looks orphaned.
    reports = await runtime.list()
    async with database.read() as session:
        living = set(await session.scalars(select(Instance.id).where(Instance.ended_at.is_(None))))
    for report in reports:
        if report.instance_id not in living:
            log.warning("ending an orphaned instance", instance_id=report.instance_id)
            await runtime.stop(report.instance_id)


async def end_orphan_runs(database: Database, drivers: Drivers) -> None:
    """End the driver and remove the folder of every run that has no row."""
    # In this order, as above.
    known = drivers.known()
    async with database.read() as session:
        rows = await runs_of_drivers(session, known)
    for task_id in known:
        if task_id in rows:
            continue
        if drivers.report(task_id).alive:
            log.warning("ending an orphaned driver", task_id=task_id)
            await drivers.end(task_id, at_once=True)
        else:
            await drivers.remove(task_id)
