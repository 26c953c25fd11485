"""Services (services.md §1): each route declares who may, calls one function, returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.api.body import JsonBody
from modelyard.api.conditions import CreateConditionsDep, DryRunDep, author_of, tell
from modelyard.api.context import ContextDep
from modelyard.api.deps import may
from modelyard.api.paging import Query
from modelyard.api.schemas import services as wire
from modelyard.api.services_monitor import service_monitor
from modelyard.control.changes.admission import not_found
from modelyard.control.changes.preconditions import etag
from modelyard.domain.admission.tags import read_filter
from modelyard.domain.service.batch_job import BATCH
from modelyard.domain.service.lifecycle import Status
from modelyard.iam.claims import Claims
from modelyard.store.batch_runs import first_versions, latest_runs
from modelyard.store.events import list_service_events
from modelyard.store.models import find_models
from modelyard.store.service import services as store
from modelyard.store.service.tags import tags_of
from modelyard.store.tables.service import Service

router = APIRouter(prefix="/v1/{project_id}/services", tags=["services"])

Json = dict[str, Any]
ServiceId = Annotated[str, Path()]
INFER_TYPES = ("real-time", "batch", "edge")


async def find(session: AsyncSession, claims: Claims, service_id: str) -> Service:
    """The caller's service. Raises ``NotFound``."""
    service = await store.find_service(session, claims.project_id or "", service_id)
    if service is None:
        raise not_found(service_id)
    return service


@router.post("")
async def create_service(
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:create"))],
    body: JsonBody,
    conditions: CreateConditionsDep,
    dry_run: DryRunDep,
    response: Response,
) -> Json:
    """Deploy a service.

    ``dry_run=true`` (ours) is for batch services: it counts and samples the input and shows the
    first requests that would be sent, and does nothing.
    """
    if dry_run:
        return await context.wishes.preview_new(author_of(claims), body)
    accepted = await context.wishes.create(author_of(claims), body, conditions)
    context.hint(accepted.service_id)
    tell(response, accepted)
    return {"service_id": accepted.service_id, "resource_ids": wire.resource_ids(accepted)}


@router.get("")
async def list_services(
    request: Request,
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:list"))],
) -> Json:
    query = Query(request)
    page = query.page(store.SORT_COLUMNS, "publish_at")
    wanted = store.ServiceFilter(
        service_id=query.text("service_id"),
        name=query.text("service_name"),
        model_id=query.text("model_id"),
        workspace_id=query.text("workspace_id"),
        infer_type=query.text("infer_type", INFER_TYPES),
        status=query.text("status", [status.value for status in Status]),
        cluster_id=query.text("cluster_id"),
        tags=read_filter(query.text("tags") or ""),
    )
    query.check()
    async with context.database.read() as session:
        total, rows = await store.list_services(session, claims.project_id or "", wanted, page)
        counts = await store.counters(session, [row.id for row in rows])
        runs = await runs_of(session, rows)
    services = [wire.service_summary(row, claims, counts, runs.get(row.id)) for row in rows]
    return {"total_count": total, "count": len(services), "services": services}


@router.get("/{service_id}")
async def show_service(
    service_id: ServiceId,
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:get"))],
    response: Response,
) -> Json:
    """``ETag``, ``tags``, ``revision`` and ``pending`` are ours.

    The entity tag is what ``If-Match`` of a change refers to; ``pending`` lists accepted settings
    that are not in force on this runtime, each with its reason.
    """
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        details = await load_details(session, service)
        tags = await tags_of(session, service_id)
    response.headers["ETag"] = etag(service.generation)
    body = wire.service_details(details, claims, context.settings.gateway.public_address)
    return body | {"tags": [{"key": key, "value": value} for key, value in tags.items()]}


async def runs_of(session: AsyncSession, rows: Sequence[Service]) -> dict[str, wire.LastRun]:
    """The last run of each batch service among ``rows``."""
    runs = await latest_runs(session, [row.id for row in rows if row.infer_type == BATCH])
    versions = await first_versions(
        session, {(run.service_id, run.revision) for run in runs.values()}
    )
    return {
        service_id: wire.LastRun(run, versions.get((service_id, run.revision)))
        for service_id, run in runs.items()
    }


async def load_details(session: AsyncSession, service: Service) -> wire.Details:
    """The service with the configuration in force; what is stored while none is."""
    number = service.live_revision or service.desired_revision
    revision = await store.get_revision(session, service.id, number)
    config = revision.config
    return wire.Details(
        service=service,
        config=config,
        policy=revision.policy,
        models=await find_models(session, service.project_id, [c.model_id for c in config]),
        instances=await store.living_instances(session, service.id),
        counts=await store.counters(session, [service.id]),
        last_run=(await runs_of(session, [service])).get(service.id),
    )


@router.get("/{service_id}/logs")
async def update_logs(
    service_id: ServiceId,
    request: Request,
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:getLogs"))],
) -> Json:
    query = Query(request)
    update_time = query.integer("update_time")
    query.check()
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        logs = await store.update_logs(session, service_id, update_time)
        numbers = {log.revision for log in logs}
        configs = await store.revision_configs(session, service_id, numbers)
        ids = sorted({c.model_id for config in configs.values() for c in config})
        models = await find_models(session, service.project_id, ids)
    return {
        "service_id": service_id,
        "service_name": service.name,
        "logs": [wire.update_log(log, configs[log.revision], models) for log in logs],
    }


@router.get("/{service_id}/events")
async def list_events(
    service_id: ServiceId,
    request: Request,
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:getEvents"))],
) -> Json:
    query = Query(request)
    wanted, page = query.events()
    query.check()
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        total, rows = await list_service_events(session, service_id, wanted, page)
    return {
        "service_id": service_id,
        "service_name": service.name,
        "total_count": total,
        "count": len(rows),
        "events": [wire.event(row) for row in rows],
    }


@router.get("/{service_id}/monitor")
async def show_monitor(
    service_id: ServiceId,
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:getMonitor"))],
) -> Json:
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        details = await load_details(session, service)
    per_minute = context.rate.per_minute(service_id, context.clock.now_ms())
    return service_monitor(details, context.usage, context.shadows, per_minute)
