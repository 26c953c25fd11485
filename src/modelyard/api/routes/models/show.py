"""One model and its events (models.md §1.4, §7)."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from modelyard.api.context import ContextDep
from modelyard.api.contract.declare import QueryOf, answers
from modelyard.api.deps import may
from modelyard.api.paging import QueryDep
from modelyard.api.routes.models.refusals import not_found
from modelyard.api.schemas import models as contract
from modelyard.api.schemas.service_requests import EventsQuery
from modelyard.api.views import models as wire
from modelyard.iam.claims import Claims
from modelyard.packages.environments.manifest import read_environment
from modelyard.store import events
from modelyard.store import models as store

router = APIRouter(prefix="/v1/{project_id}/models", tags=["models"])


@router.get(
    "/{model_id}",
    operation_id="ShowModel",
    responses=answers(contract.ShowModelResponse, 404),
)
async def show_model(
    model_id: str,
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:model:get"))],
) -> JSONResponse:
    """One version of a model (models.md §1.4)."""
    async with context.database.read() as session:
        model = await store.find_model(session, claims.project_id or "", model_id)
    if model is None:
        raise not_found(model_id)
    folder = context.settings.layout.environments_dir
    own = (
        await asyncio.to_thread(read_environment, folder, model.environment)
        if model.environment
        else None
    )
    return JSONResponse(wire.model_details(model, own))


@router.get(
    "/{model_id}/events",
    operation_id="ListModelEvents",
    responses=answers(contract.ListModelEventsResponse, 404),
)
async def list_model_events(
    model_id: str,
    query: Annotated[QueryDep, QueryOf(EventsQuery)],
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:model:get"))],
) -> JSONResponse:
    """What happened to a model (models.md §7), newest first."""
    wanted, page = query.events()
    query.check()
    async with context.database.read() as session:
        model = await store.find_model(session, claims.project_id or "", model_id)
        if model is None:
            raise not_found(model_id)
        total, rows = await events.list_model_events(session, model.id, wanted, page)
    return JSONResponse(
        {
            "model_id": model.id,
            "model_name": model.name,
            "total_count": total,
            "count": len(rows),
            "events": [wire.event_document(row) for row in rows],
        }
    )
