"""Deleting models (models.md §1.5)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.api.context import ContextDep
from modelyard.api.contract.declare import QueryOf, answers
from modelyard.api.deps import may
from modelyard.api.paging import QueryDep
from modelyard.api.routes.models.refusals import failure, in_use, not_found, not_so_many
from modelyard.api.schemas.model_requests import DeleteModelQuery
from modelyard.api.schemas.models import DeleteModelResponse
from modelyard.iam.claims import Claims
from modelyard.steps import Step
from modelyard.store import models as store
from modelyard.store.service.services import uses_of_model
from modelyard.store.tables.model import Model

router = APIRouter(prefix="/v1/{project_id}/models", tags=["models"])

Json = dict[str, Any]
_MOST_VERSIONS = 20
_MOST_IDS = 100


@router.delete(
    "/{model_id}",
    operation_id="DeleteModel",
    responses=answers(DeleteModelResponse, 404),
)
async def delete_models(
    model_id: str,
    query: Annotated[QueryDep, QueryOf(DeleteModelQuery)],
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:model:delete"))],
) -> JSONResponse:
    """Delete one version, a comma-separated list, or with ``cascade`` all of a name.

    Those in use are listed as failed and stay; the rest goes.
    """
    cascade = (query.text("cascade", ("true", "false", "True", "False")) or "false").lower()
    query.check()
    ids = list(dict.fromkeys(part.strip() for part in model_id.split(",") if part.strip()))
    if not ids or len(ids) > _MOST_IDS:
        raise not_so_many(_MOST_IDS)
    project_id = claims.project_id or ""
    failed: list[Json] = []
    async with context.database.write(Step.MODEL_DELETE) as session:
        doomed = await _doomed(session, project_id, ids, cascade=cascade == "true")
        if not doomed and len(ids) == 1:
            raise not_found(ids[0])
        failed += [failure(id_, not_found(id_)) for id_ in ids if id_ not in doomed]
        deleted: list[str] = []
        for model in doomed.values():
            users = await uses_of_model(session, model.id)
            if users:
                failed.append(failure(model.id, in_use(model, users)))
            else:
                await session.delete(model)
                deleted.append(model.id)
    for id_ in deleted:
        await context.importer.discard(project_id, id_)
    return JSONResponse({"delete_success_list": deleted, "delete_failed_list": failed})


async def _doomed(
    session: AsyncSession, project_id: str, ids: list[str], *, cascade: bool
) -> dict[str, Model]:
    """The models to delete, by id, in the order asked for and locked."""
    found = await store.find_models(session, project_id, ids, lock=True)
    doomed = {id_: found[id_] for id_ in ids if id_ in found}
    if cascade:
        for model in list(doomed.values()):
            for version in await store.versions_of(session, project_id, model.name, _MOST_VERSIONS):
                doomed.setdefault(version.id, version)
    return dict(list(doomed.items())[:_MOST_VERSIONS]) if cascade else doomed
