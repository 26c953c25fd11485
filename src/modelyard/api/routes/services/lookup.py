"""Finding a service of the caller, with what belongs to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated

from fastapi import Path
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.api.views.services import Details, LastRun
from modelyard.control.changes.admission import no_revision, not_found
from modelyard.domain.service.batch_job import BATCH
from modelyard.iam.claims import Claims
from modelyard.store.batch_runs import first_versions, latest_runs
from modelyard.store.models import find_models
from modelyard.store.service import services as store
from modelyard.store.tables.model import Model
from modelyard.store.tables.service import Service

ServiceId = Annotated[str, Path(description="The id of a service.")]
Number = Annotated[str, Path(description="The number of a revision.")]
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


async def find(session: AsyncSession, claims: Claims, service_id: str) -> Service:
    """The caller's service. Raises ``NotFound``."""
    service = await store.find_service(session, claims.project_id or "", service_id)
    if service is None:
        raise not_found(service_id)
    return service


async def runs_of(session: AsyncSession, rows: Sequence[Service]) -> dict[str, LastRun]:
    """The last run of each batch service among ``rows``."""
    runs = await latest_runs(session, [row.id for row in rows if row.infer_type == BATCH])
    versions = await first_versions(
        session, {(run.service_id, run.revision) for run in runs.values()}
    )
    return {
        service_id: LastRun(run, versions.get((service_id, run.revision)))
        for service_id, run in runs.items()
    }


async def load_details(session: AsyncSession, service: Service) -> Details:
    """The service with the configuration in force; what is stored while none is."""
    number = service.live_revision or service.desired_revision
    revision = await store.get_revision(session, service.id, number)
    config = revision.config
    return Details(
        service=service,
        config=config,
        policy=revision.policy,
        models=await find_models(session, service.project_id, [c.model_id for c in config]),
        instances=await store.living_instances(session, service.id),
        counts=await store.counters(session, [service.id]),
        last_run=(await runs_of(session, [service])).get(service.id),
    )


async def models_of(
    session: AsyncSession, service: Service, ids: Iterable[str]
) -> dict[str, Model]:
    """The models of the service's project with these ids, as far as they still exist."""
    return await find_models(session, service.project_id, ids)


def number_of(text: str) -> int:
    """The number of a revision. Raises ``NotFound`` for what is none."""
    if not _NUMBER.fullmatch(text):
        raise no_revision(text)
    return int(text)
