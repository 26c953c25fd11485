"""Finding the runs of batch services."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, and_, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from modelyard.domain.service.config import VersionConfig
from modelyard.store.paging import Page
from modelyard.store.tables.batch import BatchRun
from modelyard.store.tables.service import Revision


async def open_run(session: AsyncSession, service_id: str) -> BatchRun | None:
    """The run that goes on, or waits for its instances; there is never more than one."""
    statement = select(BatchRun).where(BatchRun.service_id == service_id, BatchRun.outcome == "")
    return (await session.scalars(statement)).one_or_none()


async def unclosed_runs(session: AsyncSession, service_id: str) -> list[BatchRun]:
    """Those of which something may still run, the oldest first."""
    statement = select(BatchRun).where(
        BatchRun.service_id == service_id, BatchRun.closed_at.is_(None)
    )
    return list(await session.scalars(statement.order_by(BatchRun.created_at)))


async def find_run(session: AsyncSession, service_id: str, task_id: str) -> BatchRun | None:
    """The service's run of that id."""
    statement = select(BatchRun).where(
        BatchRun.service_id == service_id, BatchRun.task_id == task_id
    )
    return (await session.scalars(statement)).one_or_none()


async def list_runs(
    session: AsyncSession, service_id: str, page: Page
) -> tuple[int, list[BatchRun]]:
    """How many runs the service has had, and those of the page."""
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
    """The newest run of each service that has had one."""
    if not service_ids:
        return {}
    statement = select(BatchRun).where(BatchRun.service_id.in_(service_ids), newest())
    return {run.service_id: run for run in await session.scalars(statement)}


async def first_versions(
    session: AsyncSession, revisions: Collection[tuple[str, int]]
) -> dict[tuple[str, int], VersionConfig]:
    """The first version of each revision (service id, number): of a batch service all it has."""
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
    """The rows behind run folders, by task id."""
    found: dict[str, BatchRun] = {}
    for start in range(0, len(task_ids), 500):
        some = task_ids[start : start + 500]
        rows = await session.scalars(select(BatchRun).where(BatchRun.task_id.in_(some)))
        found |= {row.task_id: row for row in rows}
    return found
