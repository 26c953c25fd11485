"""End instances and batch drivers that run without a record.

A control plane leaves them behind when it dies between recording an instance's end and ending its
processes; a service that is deleted leaves behind what its runs had.
"""

from __future__ import annotations

import structlog

from modelyard.control.ports import Drivers, Runtime
from modelyard.store.batch_runs import runs_of_drivers
from modelyard.store.database import Database
from modelyard.store.service.instances import living_ids

log = structlog.get_logger(__name__)

PERIOD_S = 60.0


async def end_orphans(database: Database, runtime: Runtime) -> None:
    """Stop every instance that the runtime knows and that is not on record as living."""
    # In this order: a record is written before its process exists, so nothing new looks orphaned.
    reports = await runtime.list()
    async with database.read() as session:
        living = await living_ids(session)
    for report in reports:
        if report.instance_id not in living:
            log.warning("ending an orphaned instance", instance_id=report.instance_id)
            await runtime.stop(report.instance_id)


async def end_orphan_runs(database: Database, drivers: Drivers) -> None:
    """End the driver and remove the folder of every run without a record."""
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
