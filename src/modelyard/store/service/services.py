"""Find services and their revisions, and add revisions."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.domain.admission.tags import Tag
from modelyard.domain.rollout.state import DesiredStatus
from modelyard.domain.service.batch_job import BATCH
from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.lifecycle import Status
from modelyard.domain.service.rollout_policy import Rollout
from modelyard.domain.service.traffic import LoadBalancerPolicy
from modelyard.store.paging import Page
from modelyard.store.service.desired import StoredRevision, stored_revision
from modelyard.store.service.pools import in_cluster
from modelyard.store.service.tags import tagged
from modelyard.store.tables.service import (
    Counter,
    Instance,
    Revision,
    RevisionModel,
    Service,
    UpdateLog,
)

_ID = re.compile(r"[0-9a-f-]{36}")


@dataclass(frozen=True, slots=True)
class ServiceFilter:
    """What a list asks for (services.md §9.1); None: no restriction. ``name`` matches in part.

    ``tags``: every element must hold, by one of its tags.
    """

    service_id: str | None = None
    name: str | None = None
    model_id: str | None = None
    workspace_id: str | None = None
    infer_type: str | None = None
    status: str | None = None
    cluster_id: str | None = None
    tags: Sequence[Sequence[Tag]] = ()


SORT_COLUMNS = {
    "publish_at": Service.publish_at,
    "service_name": Service.name,
    "transition_at": Service.transition_at,
}


async def find_service(
    session: AsyncSession, project_id: str, service_id: str, *, lock: bool = False
) -> Service | None:
    """Find the project's service of that id; ``lock`` keeps it until the transaction ends."""
    # Anything may stand in a path; only what can be an id is looked up.
    if not _ID.fullmatch(service_id):
        return None
    statement = select(Service).where(Service.id == service_id, Service.project_id == project_id)
    if lock:
        statement = statement.with_for_update()
    return (await session.scalars(statement)).one_or_none()


async def name_is_taken(session: AsyncSession, project_id: str, name: str) -> bool:
    statement = select(Service.id).where(Service.project_id == project_id, Service.name == name)
    return (await session.scalars(statement)).first() is not None


async def list_services(
    session: AsyncSession, project_id: str, matching: ServiceFilter, page: Page
) -> tuple[int, Sequence[Service]]:
    """Count the services that match, and return those of the page."""
    statement = _filtered(select(Service).where(Service.project_id == project_id), matching)
    total = await session.scalar(select(func.count()).select_from(statement.subquery()))
    column = SORT_COLUMNS[page.sort_by]
    order = column.desc() if page.descending else column.asc()
    rows = await session.scalars(
        statement.order_by(order, Service.id).offset(page.offset).limit(page.limit)
    )
    return total or 0, list(rows)


def _filtered(statement: Select[tuple[Service]], matching: ServiceFilter) -> Select[tuple[Service]]:
    exact = {
        Service.id: matching.service_id,
        Service.workspace_id: matching.workspace_id,
        Service.infer_type: matching.infer_type,
        Service.status: matching.status,
    }
    for column, value in exact.items():
        if value is not None:
            statement = statement.where(column == value)
    if matching.name:
        statement = statement.where(Service.name.icontains(matching.name, autoescape=True))
    if matching.cluster_id:
        statement = statement.where(in_cluster(matching.cluster_id))
    for readings in matching.tags:
        statement = statement.where(tagged(readings))
    if matching.model_id:
        statement = statement.join(
            RevisionModel,
            and_(
                RevisionModel.service_id == Service.id,
                RevisionModel.number == Service.desired_revision,
            ),
        ).where(RevisionModel.model_id == matching.model_id)
    return statement


async def uses_of_model(session: AsyncSession, model_id: str) -> list[str]:
    """Find the names of services that serve a model, may return to it, or run an instance of it."""
    named = select(RevisionModel.service_id).where(
        RevisionModel.service_id == Service.id,
        RevisionModel.model_id == model_id,
        or_(
            RevisionModel.number == Service.desired_revision,
            RevisionModel.number == Service.serving_revision,
            RevisionModel.number == Service.live_revision,
        ),
    )
    running = select(Instance.id).where(
        Instance.service_id == Service.id,
        Instance.model_id == model_id,
        Instance.ended_at.is_(None),
    )
    statement = select(Service.name).where(or_(named.exists(), running.exists()))
    return list(await session.scalars(statement.order_by(Service.name)))


@dataclass(frozen=True, slots=True)
class NewRevision:
    """What a revision is made of. ``origin``: the revision that it brings back, if any."""

    config: Sequence[VersionConfig]
    policy: LoadBalancerPolicy
    rollout: Rollout = field(default_factory=Rollout)
    origin: int | None = None


def add_revision(
    session: AsyncSession, service_id: str, number: int, new: NewRevision, author: str, now: int
) -> None:
    """Write down a configuration; it never changes afterwards."""
    session.add(
        Revision(
            service_id=service_id,
            number=number,
            config=[version.to_json() for version in new.config],
            policy=new.policy.value,
            rollout=new.rollout.to_json(),
            origin=new.origin,
            created_at=now,
            created_by=author,
        )
    )
    for model_id in {version.model_id for version in new.config}:
        session.add(RevisionModel(service_id=service_id, number=number, model_id=model_id))


async def get_revision(session: AsyncSession, service_id: str, number: int) -> StoredRevision:
    """One revision of that service; it must exist."""
    row = await session.get_one(Revision, (service_id, number))
    return stored_revision(row)


async def last_revision(session: AsyncSession, service_id: str) -> int:
    statement = select(func.max(Revision.number)).where(Revision.service_id == service_id)
    return await session.scalar(statement) or 0


async def revision_config(
    session: AsyncSession, service_id: str, number: int
) -> tuple[VersionConfig, ...]:
    """The configuration of one revision; empty when there is none of that number."""
    revision = await session.get(Revision, (service_id, number))
    return tuple(VersionConfig.from_json(c) for c in revision.config) if revision else ()


async def living_instances(session: AsyncSession, service_id: str) -> Sequence[Instance]:
    statement = select(Instance).where(
        Instance.service_id == service_id, Instance.ended_at.is_(None)
    )
    return list(await session.scalars(statement))


async def counters(
    session: AsyncSession, service_ids: Sequence[str]
) -> dict[tuple[str, str], tuple[int, int]]:
    """(invocations, failures) by (service id, model id)."""
    rows = await session.scalars(select(Counter).where(Counter.service_id.in_(service_ids)))
    return {(c.service_id, c.model_id): (c.invocations, c.failures) for c in rows}


@dataclass(frozen=True, slots=True)
class Last:
    """The highest number of a service's revisions and of its updates' keys (ms); 0: none yet."""

    revision: int
    update_time: int


async def last_of(session: AsyncSession, service_id: str) -> Last:
    """What the next revision and the next update have to exceed."""
    revision = select(func.max(Revision.number)).where(Revision.service_id == service_id)
    update = select(func.max(UpdateLog.update_time)).where(UpdateLog.service_id == service_id)
    statement = select(revision.scalar_subquery(), update.scalar_subquery())
    number, update_time = (await session.execute(statement)).one()
    return Last(number or 0, update_time or 0)


async def revision_configs(
    session: AsyncSession, service_id: str, numbers: Collection[int]
) -> dict[int, tuple[VersionConfig, ...]]:
    """The configurations of several revisions, by number."""
    rows = await session.scalars(
        select(Revision).where(Revision.service_id == service_id, Revision.number.in_(numbers))
    )
    return {r.number: tuple(VersionConfig.from_json(c) for c in r.config) for r in rows}


async def update_logs(
    session: AsyncSession, service_id: str, update_time: int | None
) -> Sequence[UpdateLog]:
    """Newest first; with ``update_time`` only that one."""
    statement = select(UpdateLog).where(UpdateLog.service_id == service_id)
    if update_time is not None:
        statement = statement.where(UpdateLog.update_time == update_time)
    return list(await session.scalars(statement.order_by(UpdateLog.update_time.desc())))


async def unsettled_services(session: AsyncSession) -> list[str]:
    """Find the ids of services that should run, or have something left to wind down."""
    at_rest = (Status.STOPPED.value, Status.FAILED.value, Status.FINISHED.value)
    living = select(Instance.service_id).where(Instance.ended_at.is_(None))
    statement = select(Service.id).where(
        or_(
            Service.status.not_in(at_rest),
            Service.check_at.is_not(None),
            Service.id.in_(living),
        )
    )
    return list(await session.scalars(statement))


async def due_services(session: AsyncSession, now: int) -> list[str]:
    """Find the ids of services that were to be reconciled by ``now`` (ms)."""
    return list(await session.scalars(select(Service.id).where(Service.check_at <= now)))


async def addressed_services(session: AsyncSession) -> list[Service]:
    """Find the services that have an address in the gateway: real-time and not being deleted."""
    statement = select(Service).where(
        Service.desired_status != DesiredStatus.DELETED.value, Service.infer_type != BATCH
    )
    return list(await session.scalars(statement))


async def service_exists(session: AsyncSession, service_id: str) -> bool:
    """Whether there is a service of that id, of any project."""
    return await session.scalar(select(Service.id).where(Service.id == service_id)) is not None
