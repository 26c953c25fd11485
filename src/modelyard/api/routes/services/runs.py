"""Runs of batch services (an extension)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from fastapi.responses import JSONResponse

from modelyard.api.context import ContextDep
from modelyard.api.contract.declare import QueryOf, answers
from modelyard.api.deps import may
from modelyard.api.paging import QueryDep
from modelyard.api.routes.services.lookup import ServiceId, find
from modelyard.api.schemas.batch import ListRunsResponse, ShowRunResponse
from modelyard.api.schemas.service_requests import ListRunsQuery
from modelyard.api.views import batch as wire
from modelyard.control.batch.retry import no_run, require_batch
from modelyard.iam.claims import Claims
from modelyard.store import batch_runs as store
from modelyard.store.service.services import revision_configs

router = APIRouter(prefix="/v1/{project_id}/services/{service_id}", tags=["batch runs"])

ReaderDep = Annotated[Claims, Depends(may("modelarts:service:get"))]


@router.get(
    "/runs",
    operation_id="ListServiceRuns",
    responses=answers(ListRunsResponse, 404),
)
async def list_runs(
    service_id: ServiceId,
    query: Annotated[QueryDep, QueryOf(ListRunsQuery)],
    context: ContextDep,
    claims: ReaderDep,
) -> JSONResponse:
    """Runs of a batch service, newest first.

    ``status``: waiting, running, finished, failed, stopped or replaced (a configuration update
    took its place). ``progress``: 0 to 100. ``processed`` and, among them, ``failed``: in ``unit``,
    rows or files.
    """
    page = query.page(("created_at",), "created_at")
    query.check()
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        require_batch(service)
        total, runs = await store.list_runs(session, service_id, page)
        configs = await revision_configs(session, service_id, {run.revision for run in runs})
    return JSONResponse(
        {
            "service_id": service_id,
            "service_name": service.name,
            "total_count": total,
            "count": len(runs),
            "runs": [wire.run_summary(run, configs[run.revision][0]) for run in runs],
        }
    )


@router.get(
    "/runs/{task_id}",
    operation_id="ShowServiceRun",
    responses=answers(ShowRunResponse, 404),
)
async def show_run(
    service_id: ServiceId,
    task_id: Annotated[str, Path()],
    context: ContextDep,
    claims: ReaderDep,
) -> JSONResponse:
    """One run with its progress in full.

    Files, rows and bytes done and failed, ``rate`` in units per second over the last seconds,
    ``seconds_left`` (null while it is unknown); once it is over, its ``manifests`` and
    ``quarantine``, the object that lists what failed. At most a second old.
    """
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        require_batch(service)
        run = await store.find_run(session, service_id, task_id)
        if run is None:
            raise no_run(task_id)
        configs = await revision_configs(session, service_id, {run.revision})
    body = wire.run_details(run, configs[run.revision][0])
    return JSONResponse({"service_id": service_id} | body)
