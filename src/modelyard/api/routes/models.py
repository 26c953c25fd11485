"""Models (models.md §1): each route declares who may, calls one function, returns."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from modelyard.api.body import JsonBody
from modelyard.api.context import Context, ContextDep
from modelyard.api.deps import may
from modelyard.api.paging import Query
from modelyard.api.schemas import models as wire
from modelyard.errors import Conflict, NotFound, Problem, refuse
from modelyard.iam.claims import Claims
from modelyard.packages.catalogue import engine_runtimes
from modelyard.packages.engines import engine_named
from modelyard.packages.environments.manifest import read_environment
from modelyard.packages.importing.creation import NewModel, check_creation, version_order
from modelyard.packages.importing.published import Overrides
from modelyard.steps import Step
from modelyard.store import events
from modelyard.store import models as store
from modelyard.store.service.services import uses_of_model
from modelyard.store.tables.model import Model

router = APIRouter(prefix="/v1/{project_id}/models", tags=["models"])

Json = dict[str, Any]
_MOST_VERSIONS = 20
_MOST_IDS = 100


def _not_found(model_id: str) -> NotFound:
    return NotFound(f"Model {model_id} does not exist.", code="3001")


@router.post("")
async def create_model(
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:model:create"))],
    body: JsonBody,
) -> Json:
    """Import a package; answers at once, ``model_status`` tells how it went (models.md §1.1)."""
    if not isinstance(body, dict):
        raise refuse([Problem("body", "must be a JSON object", "Send one.", code="4105")])
    new = check_creation(body, new_name=f"model-{context.clock.new_hex(8)}")
    model = _row(context, claims, new)
    taken = Conflict(
        f"model_version: {new.name} {new.version} exists already. Choose another version.",
        code="3002",
        field="model_version",
    )
    async with context.database.write(Step.MODEL_CREATE) as session:
        if await store.version_exists(session, model.project_id, new.name, new.version):
            raise taken
        session.add(model)
        try:
            await session.flush()
        except IntegrityError:
            # On PostgreSQL another writer may have taken it since we looked.
            raise taken from None
        for warning in new.warnings:
            store.add_event(session, model.id, model.created_at, f"warning: {warning}.")
    context.importer.submit(model.id)
    return {"model_id": model.id}


def _row(context: Context, claims: Claims, new: NewModel) -> Model:
    assert claims.project_id is not None
    return Model(
        id=context.clock.new_uuid(),
        project_id=claims.project_id,
        name=new.name,
        version=new.version,
        version_order=version_order(new.version),
        model_type=new.model_type,
        runtime=new.runtime,
        description=new.description,
        status=store.PUBLISHING,
        owner=claims.user_id,
        tenant=claims.domain_id,
        workspace_id=new.workspace_id,
        source_location=new.source_location,
        execution_code=new.execution_code,
        source_job_id=new.source_job_id,
        source_job_version=new.source_job_version,
        source_type=new.source_type,
        requested=Overrides.of(new).document(),
        install_type=list(new.install_type),
        model_docs=list(new.model_docs),
        created_at=context.clock.now_ms(),
    )


@router.get("")
async def list_models(
    request: Request,
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:model:list"))],
) -> Json:
    """The project's models; every filter of models.md §1.3."""
    query = Query(request)
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
    return {
        "total_count": total,
        "count": len(rows),
        "models": [wire.model_summary(row) for row in rows],
    }


def _engine(name: str | None) -> str | None:
    """A type filter in the spelling that is stored; an unknown one matches nothing."""
    engine = engine_named(name) if name else None
    return engine.name if engine else name


# Registered before /models/{model_id}, which would take it for an id.
@router.get("/ai-engine-runtimes")
async def list_engine_runtimes(
    request: Request, _claims: Annotated[Claims, Depends(may("modelarts:model:list"))]
) -> Json:
    """Engines and their runtimes (models.md §1.7)."""
    query = Query(request)
    page = query.page(("ai_engine",), "ai_engine")
    query.check()
    found = engine_runtimes()
    shown = found[page.offset : page.offset + page.limit]
    return {"total_count": len(found), "count": len(shown), "engine_runtimes": shown}


@router.get("/{model_id}")
async def show_model(
    model_id: str,
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:model:get"))],
) -> Json:
    """One version of a model, whole (models.md §1.4)."""
    async with context.database.read() as session:
        model = await store.find_model(session, claims.project_id or "", model_id)
    if model is None:
        raise _not_found(model_id)
    folder = context.settings.layout.environments_dir
    own = (
        await asyncio.to_thread(read_environment, folder, model.environment)
        if model.environment
        else None
    )
    return wire.model_details(model, own)


@router.get("/{model_id}/events")
async def list_model_events(
    model_id: str,
    request: Request,
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:model:get"))],
) -> Json:
    """What happened to a model (models.md §7), newest first."""
    query = Query(request)
    wanted, page = query.events()
    query.check()
    async with context.database.read() as session:
        model = await store.find_model(session, claims.project_id or "", model_id)
        if model is None:
            raise _not_found(model_id)
        total, rows = await events.list_model_events(session, model.id, wanted, page)
    return {
        "model_id": model.id,
        "model_name": model.name,
        "total_count": total,
        "count": len(rows),
        "events": [wire.event_document(row) for row in rows],
    }


@router.delete("/{model_id}")
async def delete_models(
    model_id: str,
    request: Request,
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:model:delete"))],
) -> Json:
    """One version, a comma-separated list, or with ``cascade`` all of a name (models.md §1.5).

    Those in use are listed as failed and stay; the rest goes.
    """
    query = Query(request)
    cascade = (query.text("cascade", ("true", "false", "True", "False")) or "false").lower()
    query.check()
    ids = list(dict.fromkeys(part.strip() for part in model_id.split(",") if part.strip()))
    if not ids or len(ids) > _MOST_IDS:
        reason = f"must name 1 to {_MOST_IDS} models"
        raise refuse([Problem("model_id", reason, "Delete in several calls.")])
    project_id = claims.project_id or ""
    failed: list[Json] = []
    async with context.database.write(Step.MODEL_DELETE) as session:
        doomed = await _doomed(session, project_id, ids, cascade=cascade == "true")
        if not doomed and len(ids) == 1:
            raise _not_found(ids[0])
        failed += [_failure(id_, _not_found(id_)) for id_ in ids if id_ not in doomed]
        deleted: list[str] = []
        for model in doomed.values():
            users = await uses_of_model(session, model.id)
            if users:
                failed.append(_failure(model.id, _in_use(model, users)))
            else:
                await session.delete(model)
                deleted.append(model.id)
    for id_ in deleted:
        await context.importer.discard(project_id, id_)
    return {"delete_success_list": deleted, "delete_failed_list": failed}


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


def _in_use(model: Model, users: list[str]) -> Conflict:
    names = ", ".join(users[:5])
    return Conflict(
        f"{model.name} {model.version} is used by {names}. Delete or update them first.",
        code="3009",
    )


def _failure(model_id: str, error: NotFound | Conflict) -> Json:
    code = f"ModelArts.{error.code}"
    return {"model_id": model_id, "error_code": code, "error_msg": error.message}
