"""Lists of models and of engines (models.md §1.3, §1.7)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from modelyard.api.context import ContextDep
from modelyard.api.contract.declare import QueryOf, answers
from modelyard.api.deps import may
from modelyard.api.paging import QueryDep
from modelyard.api.schemas import models as contract
from modelyard.api.schemas.model_requests import ListEngineRuntimesQuery, ListModelsQuery
from modelyard.api.views import models as wire
from modelyard.errors import Problem, refuse
from modelyard.iam.claims import Claims
from modelyard.packages.catalogue import engine_runtimes
from modelyard.packages.engines import engine_named
from modelyard.store import models as store

router = APIRouter(prefix="/v1/{project_id}/models", tags=["models"])


@router.get("", operation_id="ListModels", responses=answers(contract.ListModelsResponse))
async def list_models(
    query: Annotated[QueryDep, QueryOf(ListModelsQuery)],
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:model:list"))],
) -> JSONResponse:
    """Models of the project (models.md §1.3)."""
    page = query.page(store.SORT_COLUMNS, "create_at")
    exact = query.text("exact_match", ("true", "false", "True", "False")) or "false"
    wanted = store.ModelFilter(
        name=query.text("model_name"),
        exact_match=exact.lower() == "true",
        version=query.text("model_version"),
        status=query.text("model_status", store.STATUSES),
        description=query.text("description"),
        workspace_id=query.text("workspace_id"),
        model_type=_engine(query.text("model_type")),
        not_model_type=_engine(query.text("not_model_type")),
    )
    query.check()
    if wanted.model_type is not None and wanted.not_model_type is not None:
        reason = "cannot be combined with model_type"
        raise refuse([Problem("not_model_type", reason, "Send one of the two.")])
    async with context.database.read() as session:
        total, rows = await store.list_models(session, claims.project_id or "", wanted, page)
    return JSONResponse(
        {
            "total_count": total,
            "count": len(rows),
            "models": [wire.model_summary(row) for row in rows],
        }
    )


def _engine(name: str | None) -> str | None:
    """A type filter in the spelling that is stored; an unknown one matches nothing."""
    engine = engine_named(name) if name else None
    return engine.name if engine else name


# Registered before /models/{model_id}, which would take it for an id.
@router.get(
    "/ai-engine-runtimes",
    operation_id="ListEngineRuntimes",
    responses=answers(contract.ListEngineRuntimesResponse),
)
async def list_engine_runtimes(
    query: Annotated[QueryDep, QueryOf(ListEngineRuntimesQuery)],
    _claims: Annotated[Claims, Depends(may("modelarts:model:list"))],
) -> JSONResponse:
    """Engines and their runtimes (models.md §1.7)."""
    page = query.page(("ai_engine",), "ai_engine")
    query.check()
    found = engine_runtimes()
    shown = found[page.offset : page.offset + page.limit]
    return JSONResponse({"total_count": len(found), "count": len(shown), "engine_runtimes": shown})
