"""The list of services (services.md §9.1)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from modelyard.api.context import ContextDep
from modelyard.api.contract.declare import QueryOf, answers
from modelyard.api.deps import may
from modelyard.api.paging import QueryDep
from modelyard.api.routes.services.lookup import runs_of
from modelyard.api.schemas.service_requests import ListServicesQuery
from modelyard.api.schemas.services import ListServicesResponse
from modelyard.api.views.services import service_summary
from modelyard.domain.admission.tags import read_filter
from modelyard.domain.service.lifecycle import Status
from modelyard.iam.claims import Claims
from modelyard.store.service import services as store

router = APIRouter(prefix="/v1/{project_id}/services", tags=["services"])

INFER_TYPES = ("real-time", "batch", "edge")


@router.get("", operation_id="ListServices", responses=answers(ListServicesResponse))
async def list_services(
    query: Annotated[QueryDep, QueryOf(ListServicesQuery)],
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:list"))],
) -> JSONResponse:
    """Services of the project."""
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
    services = [service_summary(row, claims, counts, runs.get(row.id)) for row in rows]
    return JSONResponse({"total_count": total, "count": len(services), "services": services})
