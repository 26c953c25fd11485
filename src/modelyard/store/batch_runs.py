"""Write and find the runs of batch services."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, and_, delete, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from modelyard.domain.batch.progress import Driver, to_json
from modelyard.domain.batch.run import Progress, Result, RunOutcome
from modelyard.domain.service.config import VersionConfig
from modelyard.domain.text import storable_text
from modelyard.store.paging import Page
from modelyard.store.tables.batch import BatchRun
from modelyard.store.tables.service import Revision


def begin_run(
    session: AsyncSession, service_id: str, revision: int, now: int, retry_of: str = ""
) -> None:
    """Write a new open run of ``revision``; its driver starts once an instance is ready."""
    session.add(
        BatchRun(
            task_id=str(uuid.uuid4()),
            service_id=service_id,
            revision=revision,
            retry_of=retry_of,
            created_at=now,
            progress={},
            manifests=[],
            outcome=RunOutcome.OPEN.value,
            driver_due=0,
            driver_losses=0,
            kept=True,
        )
    )


def end_run(run: BatchRun, outcome: RunOutcome, reason: str, now: int, code: str = "") -> None:
    """Write how an open run ended without a result of its driver."""
    run.outcome, run.code, run.reason, run.finished_at = outcome.value, code, reason, now


def write_result(run: BatchRun, result: Result, now: int) -> None:
    """Write the result that the driver reported, whatever was requested meanwhile."""
    finished = result.outcome == RunOutcome.FINISHED.value
    run.outcome = (RunOutcome.FINISHED if finished else RunOutcome.FAILED).value
    run.code, run.reason = result.code, storable_text(result.reason)
    run.started_at = run.started_at or now
    run.finished_at = run.finished_at or now
    run.progress = to_json(result.progress)
    run.manifests, run.quarantine = list(result.manifests), result.quarantine


def write_progress(run: BatchRun, progress: Progress) -> None:
    """Write the progress that the driver reported last."""
    run.progress = to_json(progress)


def write_driver(run: BatchRun, driver: Driver) -> None:
    """Write the state of the run's driver."""
    run.driver_since, run.driver_losses, run.driver_due = driver.since, driver.losses, driver.due


def driver_of(run: BatchRun) -> Driver:
    """Return the state of the run's driver."""
    return Driver(run.driver_since, run.driver_losses, run.driver_due)


def mark_started(run: BatchRun, now: int) -> bool:
    """Write that the run's first driver has started; False when it had before."""
    if run.started_at is not None:
        return False
    run.started_at = now
    return True


def close_run(run: BatchRun, now: int, *, kept: bool) -> None:
    """Write that nothing of the run is left running. ``kept``: its failures can be retried."""
    run.driver_since, run.closed_at, run.kept = None, now, kept


async def open_run(session: AsyncSession, service_id: str) -> BatchRun | None:
    """Find the run that continues or waits for its instances; there is at most one."""
    statement = select(BatchRun).where(BatchRun.service_id == service_id, BatchRun.outcome == "")
    return (await session.scalars(statement)).one_or_none()


async def unclosed_runs(session: AsyncSession, service_id: str) -> list[BatchRun]:
    """Find the runs of which something may still run, the oldest first."""
    statement = select(BatchRun).where(
        BatchRun.service_id == service_id, BatchRun.closed_at.is_(None)
    )
    return list(await session.scalars(statement.order_by(BatchRun.created_at)))


async def find_run(session: AsyncSession, service_id: str, task_id: str) -> BatchRun | None:
    """Find the service's run of that id."""
    statement = select(BatchRun).where(
        BatchRun.service_id == service_id, BatchRun.task_id == task_id
    )
    return (await session.scalars(statement)).one_or_none()


async def list_runs(
    session: AsyncSession, service_id: str, page: Page
) -> tuple[int, list[BatchRun]]:
    """Count the service's runs, and return those of the page."""
    of_service = BatchRun.service_id == service_id
    total = await session.scalar(select(func.count()).select_from(BatchRun).where(of_service))
    column = BatchRun.created_at
    rows = await session.scalars(
        select(BatchRun)
        .where(of_service)
        .order_by(column.desc() if page.descending else column.asc())
        .offset(page.offset)
        .limit(page.limit)
    )
    return total or 0, list(rows)


async def latest_runs(session: AsyncSession, service_ids: Collection[str]) -> dict[str, BatchRun]:
    """Find the newest run of each service that has had one."""
    if not service_ids:
        return {}
    statement = select(BatchRun).where(BatchRun.service_id.in_(service_ids), newest())
    return {run.service_id: run for run in await session.scalars(statement)}


async def first_versions(
    session: AsyncSession, revisions: Collection[tuple[str, int]]
) -> dict[tuple[str, int], VersionConfig]:
    """Find the first version of each revision (service id, number); a batch service has one."""
    if not revisions:
        return {}
    named = tuple_(Revision.service_id, Revision.number).in_(sorted(revisions))
    rows = await session.scalars(select(Revision).where(named))
    return {(r.service_id, r.number): VersionConfig.from_json(r.config[0]) for r in rows}


def newest() -> ColumnElement[bool]:
    """Whether a run is the last one of its service."""
    other = aliased(BatchRun)
    later = select(other.task_id).where(
        and_(other.service_id == BatchRun.service_id, other.created_at > BatchRun.created_at)
    )
    return ~later.exists()


async def runs_of_drivers(session: AsyncSession, task_ids: Sequence[str]) -> dict[str, BatchRun]:
    """Find the runs that folders belong to, by task id."""
    found: dict[str, BatchRun] = {}
    for start in range(0, len(task_ids), 500):
        some = task_ids[start : start + 500]
        rows = await session.scalars(select(BatchRun).where(BatchRun.task_id.in_(some)))
        found |= {row.task_id: row for row in rows}
    return found


async def service_of_run(session: AsyncSession, task_id: str) -> str | None:
    """Find the service of a run."""
    statement = select(BatchRun.service_id).where(BatchRun.task_id == task_id)
    return (await session.scalars(statement)).one_or_none()


async def release_runs(
    session: AsyncSession, known: Collection[str], ended_before: int, older_than: int
) -> list[str]:
    """Release the runs that ended by ``ended_before`` (ms) and that no open retry reads.

    Writes that the checkpoints of those in ``known`` are not kept, before they are removed, so that
    no retry of them begins; returns their task ids. Deletes the records of runs that ended before
    ``older_than`` (ms), except the last one of each service.
    """
    being_read = select(BatchRun.retry_of).where(BatchRun.closed_at.is_(None))
    over = (
        BatchRun.closed_at.is_not(None),
        BatchRun.finished_at <= ended_before,
        BatchRun.task_id.not_in(being_read),
    )
    found = set(await session.scalars(select(BatchRun.task_id).where(*over)))
    left = sorted(found.intersection(known))
    await session.execute(update(BatchRun).where(BatchRun.task_id.in_(left)).values(kept=False))
    old = select(BatchRun.task_id).where(*over, BatchRun.finished_at < older_than, ~newest())
    await session.execute(delete(BatchRun).where(BatchRun.task_id.in_(old)))
    return left
