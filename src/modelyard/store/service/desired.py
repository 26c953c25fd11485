"""The desired state of a service: read from its rows, and written back to them.

What it becomes is decided in ``domain/rollout/transition.py`` alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.domain.rollout.state import Desired, DesiredStatus, Kept, RevisionTarget, Step
from modelyard.domain.service.config import Schedule, VersionConfig
from modelyard.domain.service.lifecycle import Status
from modelyard.domain.service.rollout_policy import Rollout
from modelyard.domain.service.traffic import LoadBalancerPolicy
from modelyard.store.tables.service import Revision, Service

# Made once: SQLAlchemy takes longer to put a statement together than SQLite to carry it out.
_REVISIONS = select(Revision).where(
    Revision.service_id == bindparam("service"),
    Revision.number.in_(bindparam("numbers", expanding=True)),
)


@dataclass(frozen=True, slots=True)
class StoredRevision:
    """The content of a revision; it never changes."""

    config: tuple[VersionConfig, ...]
    policy: LoadBalancerPolicy
    rollout: Rollout


def stored_revision(row: Revision) -> StoredRevision:
    return StoredRevision(
        config=tuple(VersionConfig.from_json(item) for item in row.config),
        policy=LoadBalancerPolicy(row.policy),
        rollout=Rollout.from_json(row.rollout),
    )


async def read_revisions(
    session: AsyncSession, service: Service, more: Collection[int] = ()
) -> dict[int, StoredRevision]:
    """Read the revisions that the service's desired state names, and those numbered ``more``."""
    named = (
        *more,
        service.desired_revision,
        service.serving_revision,
        service.live_revision,
        service.kept_revision,
    )
    numbers = sorted({number for number in named if number is not None})
    rows = await session.scalars(_REVISIONS, {"service": service.id, "numbers": numbers})
    return {row.number: stored_revision(row) for row in rows}


async def read_desired(session: AsyncSession, service: Service) -> Desired:
    """Read the desired state of ``service``, a row of this session."""
    return desired_of(service, await read_revisions(session, service))


def desired_of(service: Service, revisions: Mapping[int, StoredRevision]) -> Desired:
    """Build the desired state from a service's row and the revisions that it names."""

    def target(number: int) -> RevisionTarget:
        return RevisionTarget.of(number, revisions[number].config, revisions[number].rollout)

    def maybe(number: int | None) -> RevisionTarget | None:
        return None if number is None else target(number)

    aim, live, kept = (
        target(service.desired_revision),
        maybe(service.live_revision),
        maybe(service.kept_revision),
    )
    return Desired(
        wanted=DesiredStatus(service.desired_status),
        target=aim,
        serving=maybe(service.serving_revision),
        live=live,
        since=service.desired_since,
        given_up=service.given_up,
        finished=service.status == Status.FINISHED.value,
        kept=Kept(kept, service.kept_until or 0) if kept else None,
        step=_step(service, aim, live),
        rejected=service.rollout_rejected,
        generation=service.generation,
    )


def write_desired(service: Service, desired: Desired) -> None:
    """Project ``desired`` onto the service's row: the inverse of ``desired_of``."""
    step, kept, steps = desired.step, desired.kept, desired.target.steps
    service.desired_status = desired.wanted.value
    service.desired_revision = desired.target.number
    service.serving_revision = desired.serving.number if desired.serving else None
    service.live_revision = desired.live.number if desired.live else None
    service.desired_since = desired.since
    service.given_up = desired.given_up
    service.kept_revision = kept.revision.number if kept else None
    service.kept_until = kept.until if kept else None
    service.rollout_step = steps.index(step.percent) if step else len(steps)
    service.rollout_since = step.since if step else None
    service.rollout_rejected = desired.rejected
    service.generation = desired.generation


def write_accepted(service: Service, desired: Desired, status: Status | None, now: int) -> None:
    """Write the result of a change that a caller made at ``now`` (ms).

    ``status``: the one that the service has from now on, unless it keeps the one it has.
    """
    write_desired(service, desired)
    service.operation_time = now
    if status is None:
        return
    service.status = status.value
    service.transition_at = now
    service.error_msg = ""
    service.due_time = due_time(service, desired, now)
    if status is Status.DEPLOYING:
        service.progress = 0
        service.publish_at = now


def due_time(service: Service, desired: Desired, now: int) -> int | None:
    """When (ms) the service is to be stopped if its schedule counts from ``now``.

    None: never; it has no schedule, or is not to run (services.md §6).
    """
    runs = desired.wanted is DesiredStatus.RUNNING and not desired.given_up
    schedule = Schedule.from_json(service.schedule) if service.schedule else None
    return now + schedule.length_ms if schedule and runs else None


def _step(service: Service, target: RevisionTarget, live: RevisionTarget | None) -> Step | None:
    """The canary step that is in force, or comes next."""
    steps, number = target.steps, service.rollout_step
    if live is None or live.number == target.number or number >= len(steps):
        return None
    return Step(steps[number], steps[number - 1] if number else 0, service.rollout_since)
