"""Importing a model (models.md §1.1)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from sqlalchemy.exc import IntegrityError

from modelyard.api.body import JsonBody
from modelyard.api.context import ContextDep
from modelyard.api.contract.declare import BodyOf, answers
from modelyard.api.deps import may
from modelyard.api.routes.models.refusals import no_object, version_taken
from modelyard.api.routes.models.rows import new_row
from modelyard.api.schemas.model_requests import CreateModelRequest
from modelyard.api.schemas.models import CreateModelResponse
from modelyard.iam.claims import Claims
from modelyard.packages.importing.creation import check_creation
from modelyard.steps import Step
from modelyard.store import models as store

router = APIRouter(prefix="/v1/{project_id}/models", tags=["models"])


@router.post(
    "",
    operation_id="CreateModel",
    responses=answers(CreateModelResponse, 409, 413),
)
async def create_model(
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:model:create"))],
    body: Annotated[JsonBody, BodyOf(CreateModelRequest)],
) -> JSONResponse:
    """Import a package or an image; answers at once, ``model_status`` tells how it goes."""
    if not isinstance(body, dict):
        raise no_object()
    new = check_creation(body, new_name=f"model-{context.clock.new_hex(8)}")
    model = new_row(context, claims, new)
    async with context.database.write(Step.MODEL_CREATE) as session:
        if await store.version_exists(session, model.project_id, new.name, new.version):
            raise version_taken(new)
        session.add(model)
        try:
            await session.flush()
        except IntegrityError:
            # On PostgreSQL another writer may have taken it since we looked.
            raise version_taken(new) from None
        for warning in new.warnings:
            store.add_event(session, model.id, model.created_at, f"warning: {warning}.")
    context.importer.submit(model.id)
    return JSONResponse({"model_id": model.id})
