"""Write and find the records of instances; one exists before its process does."""

from __future__ import annotations

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.domain.canary.update_report import InstanceLife
from modelyard.domain.rollout.instance import InstanceReport
from modelyard.domain.rollout.scale_up import Start
from modelyard.domain.rollout.state import Instance, Stage
from modelyard.store.tables.service import Instance as InstanceRow


def record_start(
    session: AsyncSession,
    service_id: str,
    instance_id: str,
    start: Start,
    grace_ms: int,
    now: int,
) -> None:
    """Write the record of an instance that is about to start."""
    session.add(
        InstanceRow(
            id=instance_id,
            service_id=service_id,
            revision=start.revision,
            model_id=start.model_id,
            slot=start.slot,
            fingerprint=start.fingerprint,
            stage=Stage.STARTING.value,
            created_at=now,
            since=now,
            grace_ms=grace_ms,
        )
    )


async def record_progress(
    session: AsyncSession, instance: Instance, report: InstanceReport | None
) -> None:
    """Write an instance's stage, the first time that it was ready, and its address and pid."""
    values: dict[str, object] = {"stage": instance.stage.value, "since": instance.since}
    if instance.stage is Stage.READY:
        values["ready_at"] = func.coalesce(InstanceRow.ready_at, instance.since)
    if report is not None:
        values |= {"host": report.host, "port": report.port, "pid": report.pid}
    await _write(session, instance.instance_id, values)


async def record_end(
    session: AsyncSession,
    instance_id: str,
    now: int,
    message: str = "",
    *,
    failed: bool,
    decisive: bool = False,
) -> None:
    """Write that an instance has ended. ``failed``: it was not asked to; ``message`` says why.

    ``decisive``: the failure alone fails the rollout (``domain/rollout/backoff.py``).
    """
    values = {"ended_at": now, "failed": failed, "message": message}
    if decisive:
        values["decisive"] = True
    await _write(session, instance_id, values)


async def mark_draining(session: AsyncSession, instance_id: str, now: int) -> None:
    """Write that an instance is out of traffic and completes its requests."""
    await _write(session, instance_id, {"stage": Stage.DRAINING.value, "since": now})


async def record_served_at(session: AsyncSession, instance_id: str, served_at: int | None) -> None:
    """Write since when (ms) an instance carries traffic; None: it does not."""
    await _write(session, instance_id, {"served_at": served_at})


async def living_ids(session: AsyncSession) -> set[str]:
    """Find the ids of all instances that are on record as living."""
    return set(await session.scalars(select(InstanceRow.id).where(InstanceRow.ended_at.is_(None))))


async def ready_instances(session: AsyncSession) -> list[tuple[str, str]]:
    """Find the ready instances: (instance id, service id)."""
    statement = select(InstanceRow.id, InstanceRow.service_id).where(
        InstanceRow.ended_at.is_(None), InstanceRow.stage == Stage.READY.value
    )
    return list((await session.execute(statement)).tuples())


async def service_of_instance(session: AsyncSession, instance_id: str) -> str | None:
    """Find the service of an instance, living or ended."""
    statement = select(InstanceRow.service_id).where(InstanceRow.id == instance_id)
    return (await session.scalars(statement)).one_or_none()


async def instance_lives(session: AsyncSession, service_id: str, since: int) -> list[InstanceLife]:
    """Find the lives of the service's instances that had not ended by ``since`` (ms)."""
    rows = await session.scalars(
        select(InstanceRow).where(
            InstanceRow.service_id == service_id,
            or_(InstanceRow.ended_at.is_(None), InstanceRow.ended_at >= since),
        )
    )
    return [_life(row) for row in rows]


async def forget_instances(session: AsyncSession, before: int) -> None:
    """Delete the records of instances that ended before ``before`` (ms)."""
    await session.execute(delete(InstanceRow).where(InstanceRow.ended_at < before))


async def _write(session: AsyncSession, instance_id: str, values: dict[str, object]) -> None:
    await session.execute(update(InstanceRow).where(InstanceRow.id == instance_id).values(**values))


def _life(row: InstanceRow) -> InstanceLife:
    forced = row.failed or bool(row.message)
    return InstanceLife(
        started_at=row.created_at,
        ready_at=row.ready_at,
        drained_at=row.since if row.stage == Stage.DRAINING.value else None,
        killed_at=row.ended_at if forced else None,
    )
