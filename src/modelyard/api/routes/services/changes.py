"""Calls that create, change and delete services (services.md §2 to §4)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from modelyard.api.body import JsonBody, ServiceBody
from modelyard.api.conditions import (
    ChangeDep,
    CreateConditionsDep,
    DeleteConditionsDep,
    DryRunDep,
    author_of,
    headers_of,
    resource_ids,
)
from modelyard.api.context import ContextDep
from modelyard.api.contract.declare import ETAG, REPLAYED, BodyOf, Responses, answers
from modelyard.api.deps import may
from modelyard.api.routes.services.lookup import Number, ServiceId, number_of
from modelyard.api.schemas.service_requests import (
    CreateServiceRequest,
    PatchServiceRequest,
    RetryFailedRequest,
    RollBackServiceRequest,
    UpdateServicePropertyRequest,
    UpdateServiceRequest,
)
from modelyard.api.schemas.services import (
    CreateServiceResponse,
    DeleteServiceResponse,
    UpdateServiceResponse,
)
from modelyard.control.changes.admission import ChangeKind, ChangeRequest
from modelyard.errors import InvalidRequest
from modelyard.iam.claims import Claims

router = APIRouter(prefix="/v1/{project_id}/services")

UpdaterDep = Annotated[Claims, Depends(may("modelarts:service:update"))]


def _changed(model: type[BaseModel]) -> Responses:
    return answers(model, 404, 412, 413, 422, headers=ETAG | REPLAYED)


@router.post(
    "",
    tags=["services"],
    operation_id="CreateService",
    responses=answers(CreateServiceResponse, 404, 409, 413, 422, headers=ETAG | REPLAYED),
)
async def create_service(
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:create"))],
    body: Annotated[ServiceBody, BodyOf(CreateServiceRequest)],
    conditions: CreateConditionsDep,
    dry_run: DryRunDep,
) -> JSONResponse:
    """Deploy a service.

    ``dry_run=true`` (extension) is for batch services: it counts and samples the input and shows
    the first requests that would be sent, and does nothing.
    """
    if dry_run:
        return JSONResponse(await context.changes.preview_new(author_of(claims), body))
    accepted = await context.changes.create(author_of(claims), body, conditions)
    context.hint(accepted.service_id)
    created = {"service_id": accepted.service_id, "resource_ids": resource_ids(accepted)}
    return JSONResponse(created, headers=headers_of(accepted))


@router.put(
    "/{service_id}",
    tags=["services"],
    operation_id="UpdateService",
    responses=_changed(UpdateServiceResponse),
)
async def update_service(
    service_id: ServiceId,
    claims: UpdaterDep,
    body: Annotated[ServiceBody, BodyOf(UpdateServiceRequest)],
    change: ChangeDep,
) -> JSONResponse:
    """Change, start or stop a service."""
    return await change.carry_out(claims, service_id, ChangeRequest(ChangeKind.UPDATE, body))


@router.patch(
    "/{service_id}",
    tags=["services"],
    operation_id="PatchService",
    responses=_changed(UpdateServiceResponse),
)
async def patch_service(
    service_id: ServiceId,
    claims: UpdaterDep,
    body: Annotated[JsonBody, BodyOf(PatchServiceRequest)],
    change: ChangeDep,
) -> JSONResponse:
    """Replace single values of the configuration, named by JSON pointers below ``/config/``.

    The configuration is the one that was accepted last, in the order in which Show lists it.
    """
    return await change.carry_out(claims, service_id, ChangeRequest(ChangeKind.PATCH, body))


@router.put(
    "/{service_id}/property",
    tags=["services"],
    operation_id="UpdateServiceByProperty",
    responses=_changed(UpdateServiceResponse),
)
async def update_property(
    service_id: ServiceId,
    claims: UpdaterDep,
    body: Annotated[JsonBody, BodyOf(UpdateServicePropertyRequest)],
    change: ChangeDep,
) -> JSONResponse:
    """Change instance counts of a service that runs."""
    return await change.carry_out(claims, service_id, ChangeRequest(ChangeKind.PROPERTY, body))


@router.post(
    "/{service_id}/revisions/{number}/rollback",
    tags=["time travel"],
    operation_id="RollBackService",
    responses=_changed(UpdateServiceResponse),
)
async def roll_back(
    service_id: ServiceId,
    number: Number,
    claims: UpdaterDep,
    body: Annotated[JsonBody, BodyOf(RollBackServiceRequest, required=False)],
    change: ChangeDep,
) -> JSONResponse:
    """Bring a revision's configuration back: a new revision equal to it, checked like an update.

    One that once was reached in full comes back without a guarded rollout's steps.
    """
    if body not in (None, {}):
        raise InvalidRequest("body: a rollback has none. Leave it out, or send an update.")
    return await change.carry_out(
        claims, service_id, ChangeRequest(ChangeKind.ROLLBACK, number_of(number))
    )


@router.post(
    "/{service_id}/retry-failed",
    tags=["batch runs"],
    operation_id="RetryFailed",
    responses=_changed(UpdateServiceResponse),
)
async def retry_failed(
    service_id: ServiceId,
    claims: UpdaterDep,
    body: Annotated[JsonBody, BodyOf(RetryFailedRequest, required=False)],
    change: ChangeDep,
) -> JSONResponse:
    """Compute again what failed in a finished run: a new run, whose output is that of both.

    ``task_id`` names the run; without one it is the last. Allowed where the service may be
    started, as long as the run's checkpoints are kept (``MODELYARD_BATCH_KEEP``).
    """
    return await change.carry_out(claims, service_id, ChangeRequest(ChangeKind.RETRY, body))


@router.delete(
    "/{service_id}",
    tags=["services"],
    operation_id="DeleteService",
    responses=answers(DeleteServiceResponse, 404, 412, 422),
)
async def delete_services(
    service_id: ServiceId,
    context: ContextDep,
    claims: Annotated[Claims, Depends(may("modelarts:service:delete"))],
    conditions: DeleteConditionsDep,
) -> JSONResponse:
    """Delete one service, or several by a comma-separated list: all or none (services.md §4)."""
    ids = [part.strip() for part in service_id.split(",") if part.strip()]
    await context.changes.delete(author_of(claims), ids, conditions)
    for one in ids:
        context.hint(one)
    return JSONResponse({})
