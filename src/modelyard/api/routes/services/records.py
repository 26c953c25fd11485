"""What happened to a service: update logs and events (services.md §9.4, §9.5)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from modelyard.api.context import ContextDep
from modelyard.api.contract.declare import QueryOf, answers
from modelyard.api.deps import may
from modelyard.api.paging import QueryDep
from modelyard.api.routes.services.lookup import ServiceId, find, models_of
from modelyard.api.schemas.history import ListServiceEventsResponse, ShowServiceUpdateLogsResponse
from modelyard.api.schemas.service_requests import EventsQuery, UpdateLogsQuery
from modelyard.api.views import services as wire
from modelyard.iam.claims import Claims
from modelyard.store.events import list_service_events
from modelyard.store.service import services as store

router = APIRouter(prefix="/v1/{project_id}/services", tags=["services"])


@router.get(
    "/{service_id}/logs",
    operation_id="ShowServiceUpdateLogs",
    responses=answers(ShowServiceUpdateLogsResponse, 404),
)
async def update_logs(
    service_id: ServiceId,
    query: Annotated[QueryDep, QueryOf(UpdateLogsQuery)],
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:getLogs"))],
) -> JSONResponse:
    """Updates of the configuration, newest first."""
    update_time = query.integer("update_time")
    query.check()
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        logs = await store.update_logs(session, service_id, update_time)
        numbers = {log.revision for log in logs}
        configs = await store.revision_configs(session, service_id, numbers)
        ids = sorted({c.model_id for config in configs.values() for c in config})
        models = await models_of(session, service, ids)
    return JSONResponse(
        {
            "service_id": service_id,
            "service_name": service.name,
            "logs": [wire.update_log(log, configs[log.revision], models) for log in logs],
        }
    )


@router.get(
    "/{service_id}/events",
    operation_id="ShowServiceEvents",
    responses=answers(ListServiceEventsResponse, 404),
)
async def list_events(
    service_id: ServiceId,
    query: Annotated[QueryDep, QueryOf(EventsQuery)],
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:getEvents"))],
) -> JSONResponse:
    """What happened to the service, newest first by default."""
    wanted, page = query.events()
    query.check()
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        total, rows = await list_service_events(session, service_id, wanted, page)
    return JSONResponse(
        {
            "service_id": service_id,
            "service_name": service.name,
            "total_count": total,
            "count": len(rows),
            "events": [wire.event(row) for row in rows],
        }
    )
