"""Everything that a reconcile needs to know of a service, read in one go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import bindparam, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.domain.rollout.state import Desired, Failure, Instance, RevisionTarget, Stage
from modelyard.domain.service.batch_job import BATCH
from modelyard.domain.service.rollout_policy import Guard
from modelyard.store.batch_runs import unclosed_runs
from modelyard.store.service.desired import StoredRevision, desired_of, read_revisions
from modelyard.store.tables.batch import BatchRun
from modelyard.store.tables.model import Model
from modelyard.store.tables.service import Instance as InstanceRow
from modelyard.store.tables.service import Service

FAILURE_MEMORY_MS = 3_600_000
"""How long a failed instance counts towards the back-off of its successors."""

# Made once: SQLAlchemy takes longer to put a statement together than SQLite to carry it out.
_INSTANCES = select(InstanceRow).where(
    InstanceRow.service_id == bindparam("service"),
    or_(
        InstanceRow.ended_at.is_(None),
        InstanceRow.failed & (InstanceRow.ended_at > bindparam("since")),
    ),
)
_MODELS = select(Model).where(Model.id.in_(bindparam("ids", expanding=True)))


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
        return desired_of(self.service, self.revisions)

    def desired_under(self, probation_s: float, restart_budget: int) -> Desired:
        """Return the desired state under these settings of the platform (``Desired``)."""
        # Nothing carries traffic in a batch service, so no version of it could prove itself.
        probation_ms = 0 if self.service.infer_type == BATCH else int(probation_s * 1000)
        return replace(self.desired, probation_ms=probation_ms, restart_budget=restart_budget)

    @property
    def guard(self) -> Guard | None:
        """How the rollout of the desired revision is analysed; None: it is not, or it is live."""
        service = self.service
        if service.live_revision in (None, service.desired_revision):
            return None
        return self.revisions[service.desired_revision].rollout.guard

    def target(self, number: int) -> RevisionTarget:
        revision = self.revisions[number]
        return RevisionTarget.of(number, revision.config, revision.rollout)


async def load_state(session: AsyncSession, service: Service, now: int) -> ServiceState:
    """``service``, a row of this session, with its revisions, living instances, recent failures
    and models.
    """
    service_id = service.id
    batch = service.infer_type == BATCH
    runs = tuple(await unclosed_runs(session, service_id)) if batch else ()
    known = await read_revisions(session, service, [run.revision for run in runs])
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
