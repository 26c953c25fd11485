"""What a service was asked to be, and what it served, in the past."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.store.paging import Page
from modelyard.store.service.desired import StoredRevision, stored_revision
from modelyard.store.tables.service import Revision, ServingPeriod, UpdateLog

_LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class RevisionRecord:
    """A revision and what became of its update. Times in ms since 1970.

    ``update_time`` and ``result`` are None for the first one, which no update brought.
    """

    number: int
    content: StoredRevision
    created_at: int
    created_by: str
    origin: int | None
    update_time: int | None
    result: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Period:
    """``revision`` (None: nothing) answered from ``since`` on; ``until`` None: it still does."""

    revision: int | None
    since: int
    until: int | None


async def find_revision(
    session: AsyncSession, service_id: str, number: object
) -> RevisionRecord | None:
    """The service's revision of that number; None for anything else."""
    if not isinstance(number, int) or not 0 < number <= _LARGEST:
        return None
    statement = _recorded().where(Revision.service_id == service_id, Revision.number == number)
    row = (await session.execute(statement)).first()
    return _record(*row) if row else None


async def list_revisions(
    session: AsyncSession, service_id: str, page: Page
) -> tuple[int, list[RevisionRecord]]:
    """How many revisions the service has had, and those of the page."""
    of_service = Revision.service_id == service_id
    total = await session.scalar(select(func.count()).select_from(Revision).where(of_service))
    order = Revision.number.desc() if page.descending else Revision.number.asc()
    rows = await session.execute(
        _recorded().where(of_service).order_by(order).offset(page.offset).limit(page.limit)
    )
    return total or 0, [_record(*row) for row in rows]


async def served_at(session: AsyncSession, service_id: str, at: int) -> Period | None:
    """What answered at that moment (ms); None before the service was first made to serve."""
    of_service = ServingPeriod.service_id == service_id
    now = await session.scalar(
        select(ServingPeriod)
        .where(of_service, ServingPeriod.since <= at)
        .order_by(ServingPeriod.since.desc())
        .limit(1)
    )
    if now is None:
        return None
    until = await session.scalar(
        select(func.min(ServingPeriod.since)).where(of_service, ServingPeriod.since > now.since)
    )
    return Period(now.revision, now.since, until)


async def has_served(session: AsyncSession, service_id: str, number: int) -> bool:
    """Whether the revision of that number ever answered predictions."""
    statement = select(ServingPeriod.since).where(
        ServingPeriod.service_id == service_id, ServingPeriod.revision == number
    )
    return (await session.scalars(statement.limit(1))).first() is not None


def _recorded() -> Select[tuple[Revision, UpdateLog]]:
    same = and_(UpdateLog.service_id == Revision.service_id, UpdateLog.revision == Revision.number)
    return select(Revision, UpdateLog).outerjoin(UpdateLog, same)


def _record(revision: Revision, log: UpdateLog | None) -> RevisionRecord:
    return RevisionRecord(
        number=revision.number,
        content=stored_revision(revision),
        created_at=revision.created_at,
        created_by=revision.created_by,
        origin=revision.origin,
        update_time=log.update_time if log else None,
        result=log.result if log else None,
        reason=log.reason if log else "",
    )
