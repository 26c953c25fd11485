"""Runs of batch services (ours): what they are, how far they are, and trying failures again."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request

from modelyard.api.body import JsonBody
from modelyard.api.conditions import ChangeDep
from modelyard.api.context import ContextDep
from modelyard.api.deps import may
from modelyard.api.paging import Query
from modelyard.api.routes.services import find
from modelyard.api.schemas import batch as wire
from modelyard.control.batch.retry import no_run, require_batch
from modelyard.control.changes.admission import ChangeKind, ChangeRequest
from modelyard.iam.claims import Claims
from modelyard.store import batch_runs as store
from modelyard.store.service.services import revision_configs

router = APIRouter(prefix="/v1/{project_id}/services/{service_id}", tags=["batch runs"])

Json = dict[str, Any]
ServiceId = Annotated[str, Path()]
ReaderDep = Annotated[Claims, Depends(may("modelarts:service:get"))]


@router.get("/runs")
async def list_runs(
    service_id: ServiceId, request: Request, context: ContextDep, claims: ReaderDep
) -> Json:
    """The runs of a batch service, newest first.

    ``status``: waiting, running, finished, failed, stopped or replaced (a configuration update
    took its place). ``progress``: 0 to 100. ``processed`` and, among them, ``failed``: in ``unit``,
    rows or files.
    """
    query = Query(request)
    page = query.page(("created_at",), "created_at")
    query.check()
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        require_batch(service)
        total, runs = await store.list_runs(session, service_id, page)
        configs = await revision_configs(session, service_id, {run.revision for run in runs})
    return {
        "service_id": service_id,
        "service_name": service.name,
        "total_count": total,
        "count": len(runs),
        "runs": [wire.run_summary(run, configs[run.revision][0]) for run in runs],
    }


@router.get("/runs/{task_id}")
async def show_run(
    service_id: ServiceId,
    task_id: Annotated[str, Path()],
    context: ContextDep,
    claims: ReaderDep,
) -> Json:
    """One run with its progress in full.

    Files, rows and bytes done and failed, ``rate`` in units per second over the last seconds,
    ``seconds_left`` (null while it cannot be told); once it is over, its ``manifests`` and
    ``quarantine``, the object that lists what failed. At most a second old.
    """
    async with context.database.read() as session:
        service = await find(session, claims, service_id)
        require_batch(service)
        run = await store.find_run(session, service_id, task_id)
        if run is None:
            raise no_run(task_id)
        configs = await revision_configs(session, service_id, {run.revision})
    return {"service_id": service_id} | wire.run_details(run, configs[run.revision][0])


@router.post("/retry-failed")
async def retry_failed(
    service_id: ServiceId,
    claims: Annotated[Claims, Depends(may("modelarts:service:update"))],
    body: JsonBody,
    change: ChangeDep,
) -> Json:
    """Compute again what failed in a finished run: a new run, whose output is that of both.

    ``task_id`` names the run; without one it is the last. Allowed where the service may be
    started, as long as the run's checkpoints are kept (``MODELYARD_BATCH_KEEP``).
    """
    return await change.carry_out(claims, service_id, ChangeRequest(ChangeKind.RETRY, body))
