"""One service, and what it uses (services.md §9.2, §9.6)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from modelyard.api.context import ContextDep
from modelyard.api.contract.declare import ETAG, answers
from modelyard.api.deps import may
from modelyard.api.routes.services.lookup import ServiceId, find, load_details
from modelyard.api.schemas.services import ShowServiceMonitorResponse, ShowServiceResponse
from modelyard.api.views.monitor import service_monitor
from modelyard.api.views.services import service_details
from modelyard.control.changes.preconditions import etag
from modelyard.iam.claims import Claims
from modelyard.store.service.tags import tags_of

router = APIRouter(prefix="/v1/{project_id}/services", tags=["services"])


@router.get(
    "/{service_id}",
    operation_id="ShowService",
    responses=answers(ShowServiceResponse, 404, headers=ETAG),
)
async def show_service(
    service_id: ServiceId,
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:get"))],
) -> JSONResponse:
    """One service.

    ``ETag``, ``tags``, ``revision`` and ``pending`` are extensions. The entity tag is what
    ``If-Match`` of a change refers to; ``pending`` lists accepted settings that are not in force on
    this runtime, each with its reason.
    """
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        details = await load_details(session, service)
        tags = await tags_of(session, service_id)
    body = service_details(details, claims, context.settings.gateway.public_address)
    body["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
    return JSONResponse(body, headers={"ETag": etag(service.generation)})


@router.get(
    "/{service_id}/monitor",
    operation_id="ShowServiceMonitorInfo",
    responses=answers(ShowServiceMonitorResponse, 404),
)
async def show_monitor(
    service_id: ServiceId,
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:getMonitor"))],
) -> JSONResponse:
    """What the service uses, its calls and its ready instances."""
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        details = await load_details(session, service)
    per_minute = context.rate.per_minute(service_id, context.clock.now_ms())
    return JSONResponse(service_monitor(details, context.usage, context.shadows, per_minute))
