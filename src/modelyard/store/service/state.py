"""Everything one pass needs to know of a service, read in one go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.domain.rollout.state import (
    Desired,
    DesiredStatus,
    Failure,
    Instance,
    Kept,
    RevisionTarget,
    Stage,
    Step,
    VersionTarget,
)
from modelyard.domain.service.batch_job import BATCH
from modelyard.domain.service.config import VersionConfig
from modelyard.domain.service.lifecycle import Status
from modelyard.domain.service.rollout_policy import Guard, Rollout
from modelyard.domain.service.traffic import LoadBalancerPolicy
from modelyard.store.batch_runs import unclosed_runs
from modelyard.store.tables.batch import BatchRun
from modelyard.store.tables.model import Model
from modelyard.store.tables.service import Instance as InstanceRow
from modelyard.store.tables.service import Revision, Service

FAILURE_MEMORY_MS = 3_600_000
"""How long a failed instance counts towards the back-off of its successors."""

# Made once: SQLAlchemy takes longer to put a statement together than SQLite to carry it out.
_REVISIONS = select(Revision).where(
    Revision.service_id == bindparam("service"),
    Revision.number.in_(bindparam("numbers", expanding=True)),
)
_INSTANCES = select(InstanceRow).where(
    InstanceRow.service_id == bindparam("service"),
    or_(
        InstanceRow.ended_at.is_(None),
        InstanceRow.failed & (InstanceRow.ended_at > bindparam("since")),
    ),
)
_MODELS = select(Model).where(Model.id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class StoredRevision:
    """A revision as it was written down."""

    config: tuple[VersionConfig, ...]
    policy: LoadBalancerPolicy
    rollout: Rollout


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A consistent copy. ``rows``: the instances on record as living, by id. ``runs``: of a batch
    service those of which something may still run, the oldest first.
    """

    service: Service
    revisions: Mapping[int, StoredRevision]
    rows: Mapping[str, InstanceRow]
    failures: tuple[Failure, ...]
    models: Mapping[str, Model]
    runs: tuple[BatchRun, ...] = ()

    @property
    def instances(self) -> tuple[Instance, ...]:
        return tuple(
            Instance(
                instance_id=row.id,
                model_id=row.model_id,
                slot=row.slot,
                fingerprint=row.fingerprint,
                stage=Stage(row.stage),
                created_at=row.created_at,
                since=row.since,
                grace_ms=row.grace_ms,
                served_at=row.served_at,
            )
            for row in self.rows.values()
        )

    @property
    def desired(self) -> Desired:
        service = self.service
        return Desired(
            wanted=DesiredStatus(service.wanted),
            target=self.target(service.desired_revision),
            serving=self._maybe(service.serving_revision),
            live=self._maybe(service.live_revision),
            since=service.wished_at,
            given_up=service.given_up,
            finished=service.status == Status.FINISHED.value,
            kept=self._kept,
            step=self._step,
            rejected=service.rollout_rejected,
        )

    @property
    def guard(self) -> Guard | None:
        """Who watches over the way to the desired revision; None: nobody, or it is the live one."""
        service = self.service
        if service.live_revision in (None, service.desired_revision):
            return None
        return self.revisions[service.desired_revision].rollout.guard

    @property
    def _step(self) -> Step | None:
        guard, number = self.guard, self.service.rollout_step
        if guard is None or number >= len(guard.steps):
            return None
        before = guard.steps[number - 1] if number else 0
        return Step(guard.steps[number], before, self.service.rollout_since is not None)

    @property
    def _kept(self) -> Kept | None:
        revision = self._maybe(self.service.kept_revision)
        return Kept(revision, self.service.kept_until or 0) if revision else None

    def _maybe(self, number: int | None) -> RevisionTarget | None:
        return None if number is None else self.target(number)

    def target(self, number: int) -> RevisionTarget:
        revision = self.revisions[number]
        versions = tuple(version_target(config) for config in revision.config)
        return RevisionTarget(number, versions, revision.rollout.keep_former_s * 1000)


def version_target(config: VersionConfig) -> VersionTarget:
    """What the planner needs of a version's configuration."""
    return VersionTarget(
        model_id=config.model_id,
        slot=config.slot,
        fingerprint=config.fingerprint,
        count=config.instance_count,
        weight=config.weight,
        max_surge=config.max_surge,
        max_unavailable=config.max_unavailable,
        start_timeout_ms=config.deploy_timeout_s * 1000,
        grace_ms=config.grace_s * 1000,
        shadow=config.shadow,
    )


def stored_revision(row: Revision) -> StoredRevision:
    return StoredRevision(
        config=tuple(VersionConfig.from_json(item) for item in row.config),
        policy=LoadBalancerPolicy(row.policy),
        rollout=Rollout.from_json(row.rollout),
    )


async def load_state(session: AsyncSession, service: Service, now: int) -> ServiceState:
    """``service``, a row of this session, with its revisions, living instances, recent failures
    and models.
    """
    service_id = service.id
    batch = service.infer_type == BATCH
    runs = tuple(await unclosed_runs(session, service_id)) if batch else ()
    named = (
        *(run.revision for run in runs),
        service.desired_revision,
        service.serving_revision,
        service.live_revision,
        service.kept_revision,
    )
    numbers = {number for number in named if number is not None}
    revisions = await session.scalars(
        _REVISIONS, {"service": service_id, "numbers": sorted(numbers)}
    )
    known = {r.number: stored_revision(r) for r in revisions}
    since = now - FAILURE_MEMORY_MS
    rows = list(await session.scalars(_INSTANCES, {"service": service_id, "since": since}))
    model_ids = {c.model_id for revision in known.values() for c in revision.config}
    model_ids |= {row.model_id for row in rows if row.ended_at is None}
    models = await session.scalars(_MODELS, {"ids": sorted(model_ids)})
    return ServiceState(
        service=service,
        revisions=known,
        rows={row.id: row for row in rows if row.ended_at is None},
        failures=tuple(
            Failure(row.fingerprint, row.ended_at, row.message, row.decisive)
            for row in rows
            if row.ended_at is not None
        ),
        models={model.id: model for model in models},
        runs=runs,
    )
