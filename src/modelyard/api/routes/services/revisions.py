"""Revisions of a service (an extension)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.api.context import ContextDep
from modelyard.api.contract.declare import QueryOf, answers
from modelyard.api.deps import may
from modelyard.api.paging import QueryDep
from modelyard.api.routes.services.lookup import Number, ServiceId, find, models_of, number_of
from modelyard.api.schemas import history
from modelyard.api.schemas.service_requests import (
    CompareRevisionsQuery,
    ListRevisionsQuery,
)
from modelyard.api.views import revisions as wire
from modelyard.control.changes.admission import no_revision
from modelyard.errors import InvalidRequest
from modelyard.iam.claims import Claims
from modelyard.store.service import revisions as store

router = APIRouter(prefix="/v1/{project_id}/services/{service_id}", tags=["time travel"])

ReaderDep = Annotated[Claims, Depends(may("modelarts:service:get"))]


@router.get(
    "/revisions",
    operation_id="ListServiceRevisions",
    responses=answers(history.ListRevisionsResponse, 404),
)
async def list_revisions(
    service_id: ServiceId,
    query: Annotated[QueryDep, QueryOf(ListRevisionsQuery)],
    context: ContextDep,
    claims: ReaderDep,
) -> JSONResponse:
    """Every configuration that the service was asked to have, newest first."""
    page = query.page(("number",), "number")
    query.check()
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        total, records = await store.list_revisions(session, service_id, page)
        ids = {version.model_id for record in records for version in record.content.config}
        models = await models_of(session, service, ids)
    return JSONResponse(
        {
            "service_id": service_id,
            "service_name": service.name,
            "total_count": total,
            "count": len(records),
            "revisions": [wire.revision(record, models) for record in records],
        }
    )


@router.get(
    "/revisions/compare",
    operation_id="CompareServiceRevisions",
    responses=answers(history.CompareRevisionsResponse, 404),
)
async def compare_revisions(
    service_id: ServiceId,
    query: Annotated[QueryDep, QueryOf(CompareRevisionsQuery)],
    context: ContextDep,
    claims: ReaderDep,
) -> JSONResponse:
    """What differs between the revisions ``from`` and ``to``, and what that does to instances."""
    numbers = [query.text("from"), query.text("to")]
    query.check()
    for name, number in zip(("from", "to"), numbers, strict=True):
        if number is None:
            raise InvalidRequest(
                f"{name}: Parameter {name} cannot be empty. Send a revision's number.",
                code="3610",
                field=name,
            )
    async with context.database.read() as session:
        await find(session, claims, service_id)
        old, new = [await _revision(session, service_id, number or "") for number in numbers]
    return JSONResponse({"service_id": service_id} | wire.comparison(old, new))


@router.get(
    "/revisions/{number}",
    operation_id="ShowServiceRevision",
    responses=answers(history.ShowRevisionResponse, 404),
)
async def show_revision(
    service_id: ServiceId, number: Number, context: ContextDep, claims: ReaderDep
) -> JSONResponse:
    """One configuration that the service was asked to have."""
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        record = await _revision(session, service_id, number)
        ids = [version.model_id for version in record.content.config]
        models = await models_of(session, service, ids)
    return JSONResponse({"service_id": service_id} | wire.revision(record, models))


async def _revision(session: AsyncSession, service_id: str, number: str) -> store.RevisionRecord:
    record = await store.find_revision(session, service_id, number_of(number))
    if record is None:
        raise no_revision(number)
    return record
