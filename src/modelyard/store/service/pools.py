"""Find the services of a pool, and what they use of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Text, and_, cast, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.domain.rollout.state import DesiredStatus
from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.lifecycle import Status
from modelyard.domain.service.pools import Generation, PoolRef
from modelyard.domain.service.rollout_policy import Rollout
from modelyard.store.tables.service import Revision, Service

Versions = tuple[VersionConfig, ...]
_LEAVING = (Status.STOPPING.value, Status.DELETING.value)


@dataclass(slots=True)
class Holder:
    """A service that has or will have instances: its configurations by revision number."""

    desired: int
    serving: int | None
    kept: int | None
    configs: dict[int, Versions] = field(default_factory=dict)
    keeps_former: bool = False

    def config(self, number: int | None) -> Versions:
        return self.configs.get(number, ()) if number is not None else ()


async def lock_pools(session: AsyncSession) -> None:
    """Let no other transaction check the room in pools until this one ends.

    SQLite has one writer at a time anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(text("SELECT pg_advisory_xact_lock(hashtext('modelyard.pools'))"))


async def lock_quotas(session: AsyncSession, project_id: str) -> None:
    """Let no other transaction check the project's quotas until this one ends."""
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(
            text("SELECT pg_advisory_xact_lock(hashtext('modelyard.quotas'), hashtext(:project))"),
            {"project": project_id},
        )


async def holders(
    session: AsyncSession, pools: Collection[PoolRef | None], *, but: str = ""
) -> list[Holder]:
    """Find the services that use ``pools``, without the one of the id ``but``.

    Only their revisions in one of the pools are read, unless the shared one (None) is asked for.
    """
    running = and_(
        Service.desired_status == DesiredStatus.RUNNING.value, Service.given_up.is_(False)
    )
    current = or_(
        Revision.number == Service.desired_revision,
        Revision.number == Service.serving_revision,
        Revision.number == Service.kept_revision,
    )
    statement = (
        select(Service.id, Service.desired_revision, Service.serving_revision)
        .add_columns(Service.kept_revision, Revision.number, Revision.config, Revision.rollout)
        .join(Revision, and_(Revision.service_id == Service.id, current))
        .where(or_(running, Service.status.in_(_LEAVING)), Service.id != but)
    )
    if None not in pools:
        statement = statement.where(or_(*(names_pool(pool) for pool in pools if pool)))
    found: dict[str, Holder] = {}
    for service_id, desired, serving, kept, number, config, rollout in await session.execute(
        statement
    ):
        holder = found.setdefault(service_id, Holder(desired, serving, kept))
        holder.configs[number] = tuple(VersionConfig.from_json(item) for item in config)
        if number == desired:
            holder.keeps_former = Rollout.from_json(rollout).keep_former_s > 0
    return list(found.values())


def names_pool(pool: PoolRef) -> ColumnElement[bool]:
    """Whether a version of a stored configuration runs in ``pool``.

    No caller can forge this text: the values of ``envs`` are strings, and the members of
    everything else are known.
    """
    stored = f'{{"id": "{pool.id}", "generation": "{pool.generation.value}"}}'
    return cast(Revision.config, Text).contains(stored, autoescape=True)


def in_cluster(cluster_id: str) -> ColumnElement[bool]:
    """Whether a service names that old pool, or a version of its latest revision does."""
    latest = select(Revision.number).where(
        Revision.service_id == Service.id,
        Revision.number == Service.desired_revision,
        names_pool(PoolRef(cluster_id, Generation.V1)),
    )
    return or_(Service.cluster_id == cluster_id, latest.exists())


async def desired_configs(
    session: AsyncSession, project_id: str, *, but: str = ""
) -> list[tuple[bool, Versions]]:
    """Find for each service of a project whether it should run, and its desired configuration.

    Without the one of the id ``but``.
    """
    latest = and_(Revision.service_id == Service.id, Revision.number == Service.desired_revision)
    rows = await session.execute(
        select(Service.desired_status, Service.status, Revision.config)
        .join(Revision, latest)
        .where(Service.project_id == project_id, Service.id != but)
    )
    return [
        (
            desired == DesiredStatus.RUNNING.value and status != Status.FINISHED.value,
            tuple(VersionConfig.from_json(item) for item in config),
        )
        for desired, status, config in rows
    ]
